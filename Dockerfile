# syntax=docker/dockerfile:1
FROM rust:1-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin kvs --bin kvs-server --bin kvs-client

FROM debian:bookworm-slim
RUN groupadd --gid 10001 kvs \
    && useradd --uid 10001 --gid kvs --no-create-home --shell /usr/sbin/nologin kvs \
    && install -d -o kvs -g kvs -m 700 /data
COPY --from=build /src/target/release/kvs /src/target/release/kvs-server \
    /src/target/release/kvs-client /usr/local/bin/
USER 10001:10001
WORKDIR /data
VOLUME /data
ENV KVS_DIR=/data \
    KVS_ADDR=0.0.0.0:4000 \
    KVS_ADMIN_ADDR=127.0.0.1:4001
EXPOSE 4000
STOPSIGNAL SIGTERM
# Without curl: bash speaks enough HTTP.
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s CMD ["bash", "-c", \
    "exec 3<>/dev/tcp/127.0.0.1/4001 && printf 'GET /readyz HTTP/1.0\\r\\n\\r\\n' >&3 \
    && read -r _ code _ <&3 && [ \"$code\" = 200 ]"]
ENTRYPOINT ["kvs-server"]

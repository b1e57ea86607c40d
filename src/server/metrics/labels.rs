//! The words that tell counters of the same name apart.

/// Declares an enum whose values have names and places.
macro_rules! labels {
    ($(#[$doc:meta])+ $type:ident { $($(#[$value_doc:meta])* $value:ident = $name:literal,)+ }) => {
        $(#[$doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $type {
            $($(#[$value_doc])* $value,)+
        }

        impl $type {
            pub(crate) const ALL: &[$type] = &[$($type::$value),+];

            pub(crate) fn index(self) -> usize {
                self as usize
            }

            pub(crate) fn name(self) -> &'static str {
                match self {
                    $($type::$value => $name,)+
                }
            }
        }
    };
}

labels! {
    /// What a connection speaks.
    Protocol {
        /// The Redis protocol.
        Resp = "resp",
        /// The project's own.
        Kvs = "kvs",
    }
}

labels! {
    /// Why a connection was turned away before it was served.
    RefusalReason {
        /// There are `connections_max` already.
        ConnectionsMax = "connections_max",
        /// The operating system did not give it: descriptors or memory have run out.
        Accept = "accept",
        /// The TLS handshake failed.
        Tls = "tls",
    }
}

labels! {
    /// Why the server has closed a connection.
    CloseReason {
        Idle = "idle",
        Handshake = "handshake_timeout",
        Request = "request_timeout",
        /// Its replies were more than one connection, or all of them, may have unread.
        Output = "output_bytes",
        /// What it sent of requests that were not whole was more than all connections may.
        Input = "input_bytes",
        Protocol = "protocol_error",
        /// The server ends, and the connection has ended before it.
        Shutdown = "shutdown",
        /// Another client asked for it.
        Killed = "killed",
    }
}

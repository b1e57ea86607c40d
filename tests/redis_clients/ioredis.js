// What ioredis does by itself, against a server on a port of this machine.

'use strict';

const assert = require('assert');
const readline = require('readline');
const Redis = require('ioredis');

const port = Number(process.argv[2]);
const input = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const clients = [];

function client(options = {}) {
  const made = new Redis({ host: '127.0.0.1', port, ...options });
  // Connections that break are what some of the checks are about.
  made.on('error', () => {});
  clients.push(made);
  return made;
}

function event(emitter, name) {
  return new Promise((resolve) => emitter.once(name, resolve));
}

const checks = {
  async readyWhenTheServerSaysSo() {
    const redis = client({ connectionName: 'worker-1' });
    await event(redis, 'ready');
    assert.match(await redis.info(), /\r\nredis_mode:standalone\r\n[^]*\r\nloading:0\r\n/);
    const info = await redis.call('CLIENT', 'INFO');
    assert.match(info, / name=worker-1 /);
    assert.match(info, / lib-name=ioredis/);
    assert.strictEqual(await redis.call('CLIENT', 'SETINFO', 'lib-name', 'other'), 'OK');
    assert.match(await redis.call('CLIENT', 'INFO'), / lib-name=other/);
  },

  async connectsWhenItIsToldTo() {
    const redis = client({ lazyConnect: true });
    assert.strictEqual(redis.status, 'wait');
    await redis.connect();
    assert.strictEqual(redis.status, 'ready');
    const ended = event(redis, 'end');
    assert.strictEqual(await redis.quit(), 'OK');
    await ended;
  },

  async valuesAndBuffers() {
    const redis = client();
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
    assert.strictEqual(await redis.set('bytes', bytes, 'EX', 100), 'OK');
    assert.deepStrictEqual(await redis.getBuffer('bytes'), bytes);
    assert.strictEqual(await redis.set('bytes', 'x', 'NX'), null);
    assert.strictEqual(await redis.get('none'), null);
    assert.deepStrictEqual(await redis.mset({ a: '1', b: '2' }), 'OK');
    assert.deepStrictEqual(await redis.mget('a', 'none', 'b'), ['1', null, '2']);
  },

  async pipelinesByItself() {
    const redis = client({ enableAutoPipelining: true });
    const numbers = Array.from({ length: 500 }, (_, number) => String(number));
    await Promise.all(numbers.map((number) => redis.set(`auto:${number}`, number)));
    const found = await Promise.all(numbers.map((number) => redis.get(`auto:${number}`)));
    assert.deepStrictEqual(found, numbers);
  },

  async transactions() {
    const redis = client();
    const results = await redis.multi().set('m', '1').incr('m').get('m').exec();
    assert.deepStrictEqual(results, [[null, 'OK'], [null, 2], [null, '2']]);
    const failing = await redis.multi().set('m', 'text').incr('m').exec();
    assert.match(failing[1][0].message, /value is not an integer/);
    await redis.watch('m');
    await client().set('m', 'changed');
    assert.strictEqual(await redis.multi().set('m', 'lost').exec(), null);
    assert.strictEqual(await redis.get('m'), 'changed');
    await assert.rejects(redis.multi({ pipeline: false }).then(() => redis.call('nosuch')));
    await assert.rejects(redis.exec(), /EXECABORT/);
  },

  async streamsOfKeys() {
    const redis = client();
    const pipeline = redis.pipeline();
    for (let number = 0; number < 300; number += 1) pipeline.set(`scan:${number}`, number);
    assert.strictEqual((await pipeline.exec()).length, 300);
    const found = new Set();
    for await (const keys of redis.scanStream({ match: 'scan:*', count: 50 })) {
      keys.forEach((key) => found.add(key));
    }
    assert.strictEqual(found.size, 300);
  },

  async whatThereIsNot() {
    const redis = client();
    await assert.rejects(redis.blpop('list', 1), /unknown command 'blpop'/);
    await assert.rejects(redis.subscribe('channel'), /unknown command 'subscribe'/);
    assert.strictEqual(await redis.ping(), 'PONG');
  },

  async waitsForAServerThatIsStartedAgain() {
    const redis = client({ retryStrategy: () => 50, maxRetriesPerRequest: null });
    await redis.set('kept', 'yes');
    const reconnecting = event(redis, 'reconnecting');
    console.log('kill');
    assert.strictEqual((await input.next()).value, 'killed');
    await reconnecting;
    const queued = Promise.all([redis.set('queued', '1'), redis.incr('queued'), redis.get('kept')]);
    console.log('start');
    assert.deepStrictEqual(await queued, ['OK', 2, 'yes']);
  },
};

async function main() {
  for (const [name, check] of Object.entries(checks)) {
    try {
      await check();
    } catch (error) {
      console.error(`${name} failed`);
      throw error;
    }
  }
  console.log(`${Object.keys(checks).length} checks`);
}

main().then(() => 0, (error) => {
  console.error(error);
  return 1;
}).then((code) => process.exit(code));

// A gRPC service and a client of it, both of @grpc/grpc-js, that send bytes as they are:
//   node grpc.js serve                      prints its port, then a line for each call that was cancelled
//   node grpc.js call NAME PORT CA_FILE     calls everything through a proxy; prints what came of it, as JSON
const fs = require('fs');
const grpc = require('@grpc/grpc-js');

const asIs = (bytes) => bytes;
const method = (name, requestStream, responseStream) => ({
  path: `/test.Echo/${name}`,
  requestStream,
  responseStream,
  requestSerialize: asIs,
  requestDeserialize: asIs,
  responseSerialize: asIs,
  responseDeserialize: asIs,
});
const service = {
  unary: method('Unary', false, false),
  refuse: method('Refuse', false, false),
  wait: method('Wait', false, false),
  count: method('Count', false, true),
  gather: method('Gather', true, false),
  chat: method('Chat', true, true),
};

function serve() {
  const server = new grpc.Server();
  server.addService(service, {
    unary(call, done) {
      const trailers = new grpc.Metadata();
      trailers.set('x-length', `${call.request.length}`);
      trailers.set('x-seen', `${call.metadata.get('x-mine')}`);
      done(null, call.request, trailers);
    },
    refuse(call, done) {
      done({ code: grpc.status.FAILED_PRECONDITION, details: 'not today: ünready' });
    },
    // Never answers.
    wait(call) {
      call.on('cancelled', () => console.log('cancelled'));
    },
    count(call) {
      for (let i = 0; i < Number(call.request); i += 1) call.write(Buffer.from(`${i}`));
      call.end();
    },
    gather(call, done) {
      let sum = 0;
      call.on('data', (bytes) => (sum += bytes.length));
      call.on('end', () => done(null, Buffer.from(`${sum}`)));
    },
    chat(call) {
      call.on('data', (bytes) => call.write(Buffer.from(`heard ${bytes}`)));
      call.on('end', () => call.end());
    },
  });
  const credentials = grpc.ServerCredentials.createInsecure();
  server.bindAsync('127.0.0.1:0', credentials, (error, port) => {
    if (error) throw error;
    console.log(port);
  });
}

async function call(name, port, caFile) {
  const Client = grpc.makeGenericClientConstructor(service, 'Echo');
  const client = new Client(`127.0.0.1:${port}`, grpc.credentials.createSsl(fs.readFileSync(caFile)), {
    'grpc.ssl_target_name_override': name,
    'grpc.default_authority': name,
  });
  const told = {};
  const big = Buffer.alloc(1 << 20, 'x');

  const metadata = new grpc.Metadata();
  metadata.set('x-mine', 'my own');
  told.unary = await new Promise((resolve, reject) => {
    let answer;
    const made = client.unary(big, metadata, (error, bytes) => (error ? reject(error) : (answer = bytes)));
    made.on('status', (status) =>
      resolve({
        same: answer.equals(big),
        code: status.code,
        length: status.metadata.get('x-length')[0],
        seen: status.metadata.get('x-seen')[0],
      }),
    );
  });
  told.many = await Promise.all(
    Array.from({ length: 200 }, (_, i) =>
      new Promise((resolve, reject) => {
        client.unary(Buffer.from(`${i}`), (error, bytes) => (error ? reject(error) : resolve(`${bytes}` === `${i}`)));
      }),
    ),
  ).then((all) => all.filter(Boolean).length);
  told.refuse = await new Promise((resolve) => {
    client.refuse(Buffer.from(''), (error) => resolve({ code: error.code, details: error.details }));
  });
  told.deadline = await new Promise((resolve) => {
    client.wait(Buffer.from(''), { deadline: Date.now() + 300 }, (error) => resolve(error.code));
  });
  told.count = await new Promise((resolve, reject) => {
    const seen = [];
    const stream = client.count(Buffer.from('1000'));
    stream.on('data', (bytes) => seen.push(Number(bytes)));
    stream.on('error', reject);
    stream.on('end', () => resolve(seen.length === 1000 && seen.every((value, at) => value === at)));
  });
  told.gather = await new Promise((resolve, reject) => {
    const stream = client.gather((error, bytes) => (error ? reject(error) : resolve(Number(bytes))));
    for (let i = 0; i < 5; i += 1) stream.write(big);
    stream.end();
  });
  // Each line waits for the answer to the one before: nothing may be held back on the way.
  told.chat = await new Promise((resolve, reject) => {
    const heard = [];
    const stream = client.chat();
    stream.on('error', reject);
    stream.on('data', (bytes) => {
      heard.push(`${bytes}`);
      if (heard.length === 3) stream.end();
      else stream.write(Buffer.from(`${heard.length}`));
    });
    stream.on('end', () => resolve(heard));
    stream.write(Buffer.from('0'));
  });
  console.log(JSON.stringify(told));
  client.close();
}

const fail = (error) => {
  console.error(error);
  process.exit(1);
};
if (process.argv[2] === 'serve') {
  serve();
} else {
  setTimeout(() => fail('too slow'), 60000).unref();
  call(...process.argv.slice(3)).catch(fail);
}

// A Socket.IO client that starts with polling and moves to a WebSocket, through a proxy:
//   node socketio.js NAME PORT CA_FILE
// Prints the transports it went through and the echo, as JSON; exits 1 when that takes longer than 20 s.
const fs = require('fs');
const https = require('https');
const { io } = require('socket.io-client');

const [name, port, caFile] = process.argv.slice(2);
// Every name is at the proxy on this machine.
const lookup = (_, options, done) =>
  options.all ? done(null, [{ address: '127.0.0.1', family: 4 }]) : done(null, '127.0.0.1', 4);
const agent = new https.Agent({ ca: fs.readFileSync(caFile), lookup, keepAlive: true });

const socket = io(`https://${name}:${port}`, { agent, reconnection: false });
const transports = [];
const fail = (why) => {
  console.error(why);
  process.exit(1);
};
setTimeout(() => fail(`too slow; so far ${transports}`), 20000).unref();

socket.on('connect_error', (error) => fail(error));
const engine = socket.io.engine;
engine.on('open', () => transports.push(engine.transport.name));
engine.on('upgrade', async (transport) => {
  transports.push(transport.name);
  const echo = await socket.emitWithAck('say', 'hello');
  console.log(JSON.stringify({ transports, echo }));
  socket.close();
  agent.destroy();
});

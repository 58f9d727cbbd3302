// An Express app that thinks it lives at http://127.0.0.1:PORT, as most do that were written on a laptop: sessions,
// redirects to its own address, server-sent events. Prints its port when it listens.
const express = require('express');
const session = require('express-session');

const app = express();
let own;
app.set('trust proxy', 'loopback');
app.use(express.urlencoded({ extended: false }));
app.use(
  session({ secret: 'of a test', resave: false, saveUninitialized: false, cookie: { secure: true, sameSite: 'lax' } }),
);

app.get('/', (request, response) => response.redirect(`${own}/${request.session.user ? 'account' : 'login'}`));
app.get('/login', (_, response) =>
  response.send('<!doctype html><form method=post><input name=user id=user><button id=go>in</button></form>'),
);
app.post('/login', (request, response) => {
  request.session.user = request.body.user;
  response.cookie('theme', 'dark', { domain: '127.0.0.1' });
  response.redirect(`${own}/account?new=1`);
});
app.get('/account', (request, response) => {
  if (!request.session.user) return response.redirect(`${own}/login`);
  return response.send(`<!doctype html><title>account</title><p id=user>${request.session.user}</p>`);
});
app.get('/me', (request, response) =>
  response.json({
    user: request.session.user ?? null,
    secure: request.secure,
    protocol: request.protocol,
    ip: request.ip,
    ips: request.ips,
    host: request.get('host'),
    cookies: request.get('cookie') ?? '',
  }),
);

// One event at a time: the next is sent when somebody who has seen this one asks for it.
const listeners = new Set();
app.get('/events', (request, response) => {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
  let at = Number(request.get('last-event-id') ?? 0);
  const next = () => response.write(`id: ${(at += 1)}\ndata: event ${at}\n\n`);
  listeners.add(next);
  request.on('close', () => listeners.delete(next));
  next();
});
app.post('/events/next', (_, response) => {
  for (const next of listeners) next();
  response.json({ listeners: listeners.size });
});

const server = app.listen(0, '127.0.0.1', () => {
  own = `http://127.0.0.1:${server.address().port}`;
  console.log(server.address().port);
});

// An Express app with Socket.IO, as its makers intend it. Prints its port when it listens.
const express = require('express');
const http = require('http');
const { Server } = require('socket.io');

const app = express();
app.get('/', (request, response) => response.json({ url: request.url, secure: request.secure }));

const server = http.createServer(app);
const io = new Server(server);
io.on('connection', (socket) => {
  socket.on('say', (text, acknowledge) => acknowledge(`heard ${text}`));
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));

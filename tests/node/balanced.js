// An app to be killed, stopped and started again: `balanced.js NAME PORT [DELAY]`.
//
// `/up` answers at once, `/count` with how many other requests came, all else after DELAY milliseconds with the name.
"use strict";

const http = require("node:http");

const [name, port, delay] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4] ?? 0)];
let count = 0;

const server = http.createServer((request, response) => {
  response.setHeader("x-app", name);
  if (request.url === "/up") return response.end("up");
  if (request.url === "/count") return response.end(String(count));
  count += 1;
  if (delay === 0) return response.end(name);
  setTimeout(() => response.end(name), delay);
});
server.keepAliveTimeout = 60_000;
server.listen(port, "127.0.0.1", () => console.log("ready"));

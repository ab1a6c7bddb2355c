// Node's servers: server.js WHAT FOLDER. Prints its port, and writes the name of each piece of work that it has done into FOLDER/done.
"use strict";

const fs = require("node:fs");
const http = require("node:http");
const http2 = require("node:http2");

const [what, folder] = process.argv.slice(2);

function answer(request, response) {
  let body = "";
  request.on("data", (piece) => (body += piece));
  request.on("end", () => {
    // Node says the same of a request that was taken back before all of it had come.
    if (body === "work") fs.appendFileSync(folder + "/done", request.headers["x-work"] + "\n");
    // With this field Node does not say for how long it keeps the connection.
    if (what === "unannounced" || what === "sweeping") response.setHeader("connection", "keep-alive");
    response.end("hello");
  });
}

// Each session ends after so many requests: it says goodbye, and finishes what it has.
function ends(session) {
  let requests = 0;
  session.on("stream", () => {
    requests += 1;
    if (requests === 25) session.close();
  });
}

let server;
if (what === "http2") {
  server = http2.createServer(answer).on("session", ends);
} else if (what === "http2-tls") {
  const secret = { cert: fs.readFileSync(folder + "/cert.pem"), key: fs.readFileSync(folder + "/key.pem") };
  server = http2.createSecureServer(secret, answer).on("session", ends);
} else {
  server = http.createServer(answer);
  server.keepAliveTimeout = { announced: 2000, unannounced: 100, sweeping: 60000 }[what];
  if (what === "sweeping") setInterval(() => server.closeIdleConnections(), 7);
}
server.listen(0, "127.0.0.1", () => console.log(server.address().port));

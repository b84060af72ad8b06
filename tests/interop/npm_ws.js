// npm's `ws` as a client or server that does what checks.py asks.
//
// usage: node npm_ws.js client|server      (as python_websockets.py)

const { WebSocket, WebSocketServer } = require("ws");
const fs = require("node:fs");

const report = (result) => console.log(JSON.stringify(result));
const unpack = (data, isBinary) => (isBinary ? { hex: data.toString("hex") } : { text: data.toString() });
const pack = (message) => message.text ?? Buffer.from(message.hex, "hex");

// A request which lacks or misstates headers.
const damaging = (damage) => (request) => {
  for (const [name, value] of Object.entries(damage)) {
    if (value === null) request.removeHeader(name);
    else request.setHeader(name, value);
  }
  request.end();
};

function client({ url, subprotocols = [], damage = {}, steps }) {
  const socket = new WebSocket(url, subprotocols, { finishRequest: damaging(damage) });
  const result = { subprotocol: null, replies: [], pongs: [], close: null };
  let awaited = 0;

  const next = () => {
    if (awaited > 0 || socket.readyState !== WebSocket.OPEN) return;
    const [step, ...args] = steps.shift() ?? ["close", 1000, ""];
    awaited = 1;
    if (step === "send") {
      socket.send(pack(args[0]));
    } else if (step === "fragments") {
      args[0].forEach((part, i, all) => socket.send(pack(part), { fin: i === all.length - 1 }));
    } else if (step === "burst") {
      awaited = args[0].length;
      for (const message of args[0]) socket.send(pack(message));
    } else if (step === "ping") {
      socket.ping(...args);
    } else if (step === "close") {
      socket.close(...args);
    }
  };
  const got = (list, value) => {
    list.push(value);
    awaited -= 1;
    next();
  };

  socket.on("open", () => {
    result.subprotocol = socket.protocol || null;
    next();
  });
  socket.on("message", (data, isBinary) => got(result.replies, unpack(data, isBinary)));
  socket.on("pong", (data) => got(result.pongs, data.toString()));
  socket.on("close", (code, reason) => report({ ...result, close: [code, reason.toString()] }));
  socket.on("unexpected-response", async (_request, response) => {
    const body = await new Response(response).text();
    report({ status: response.statusCode, body, headers: response.headers });
    process.exit();
  });
  socket.on("error", (error) => {
    // This client insists on a subprotocol when it has offered one.
    result.error = error.message;
  });
}

function session(socket, request) {
  const target = request.url;
  const [, what, ...args] = new URL(target, "ws://localhost").pathname.split("/").map(decodeURIComponent);
  socket.on("close", (code, reason) => report({ target, close: [code, reason.toString()] }));
  socket.on("pong", (data) => socket.send(`pong ${data}`));
  socket.on("error", () => {});
  socket.on("message", (data, isBinary) => {
    if (what === "type") {
      socket.send(isBinary ? "binary" : "text");
    } else if (what === "header") {
      socket.send(request.headers[args[0]]);
    } else if (what === "subprotocol") {
      socket.send(socket.protocol || "none");
    } else if (what === "size") {
      socket.send("x".repeat(Number(args[0])));
    } else if (what === "fragments") {
      ["one ", "two ", "", "three"].forEach((part, i) => socket.send(part, { fin: i === 3 }));
    } else if (what === "ping") {
      socket.ping("payload");
    } else if (what === "close") {
      socket.close(Number(args[0]), args[1]);
    } else if (what !== "silent") {
      socket.send(data, { binary: isBinary });
    }
  });
}

function server() {
  const listener = new WebSocketServer({
    host: "127.0.0.1",
    port: 0,
    verifyClient: ({ req }, decide) =>
      req.url.startsWith("/reject") ? decide(false, 403, "members only\n") : decide(true),
    handleProtocols: (offered) => (offered.has("chat.v2") ? "chat.v2" : false),
  });
  listener.on("listening", () => report({ port: listener.address().port }));
  listener.on("connection", session);
}

if (process.argv[2] === "client") client(JSON.parse(fs.readFileSync(0)));
else server();

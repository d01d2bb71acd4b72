// A gRPC server in Node before the simulator: every call comes in over grpc-js's own HTTP/2, is read and written
// with protobufjs, and is answered by the simulator. So the whole behaviour suite can run against another server.
//
// node front.js PROTOS, the folder of the project's .proto files. Each line of standard input is an order, answered with
// a line once it is done:
//   serve CONFIG   a server of these settings, in JSON; says its port. One at a time
//   refused  how many downloads it has refused for the size of their blocks
//   drain SECONDS  GOAWAY on all connections, which end after that time
//   end            cuts all connections; what comes next begins with nothing of it
// Ends with its standard input. CONFIG:
//   upstream host:port of the simulator, plaintext
//   port     to listen on; 0: any
//   cert, key  PEM files; without them plaintext
//   options  of the grpc-js server, such as grpc.max_send_message_length
//   emptyEnd, emptyBegin  true: a download ends, or begins, with a block without bytes
//   least, most  bytes: a download with smaller or larger blocks is refused with `code` and `details`
"use strict";

const fs = require("fs");
const readline = require("readline");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const files = ["axxonsoft/bl/mmexport/ExportService.proto", "axxonsoft/bl/auth/Authentication.proto"];
const definition = loader.loadSync(files, {
  includeDirs: [process.argv[2]], keepCase: true, longs: String, enums: Number,
});
const packages = grpc.loadPackageDefinition(definition).axxonsoft.bl;

function forwarded(call) {
  const metadata = call.metadata.clone();
  for (const key of ["user-agent", "te", "content-type", "grpc-accept-encoding", "grpc-encoding"]) {
    metadata.remove(key);
  }
  return metadata;
}

function unary(client, method) {
  return (call, callback) => {
    const up = client[method](call.request, forwarded(call), { deadline: call.getDeadline() }, callback);
    call.on("cancelled", () => up.cancel());
  };
}

let refusals = 0;

function refused(config, request) {
  const size = Number(request.chunk_size_kb) * 1024;
  const refuses = size > (config.most ?? Infinity) || size < (config.least ?? 0);
  refusals += refuses;
  return refuses;
}

function stream(config, client, method) {
  const download = method === "DownloadFile";
  return (call) => {
    if (download && refused(config, call.request)) {
      call.emit("error", { code: config.code, details: config.details });
      return;
    }
    const up = client[method](call.request, forwarded(call), { deadline: call.getDeadline() });
    let index = call.request.start_from_chunk_index;
    if (download && config.emptyBegin) call.write({ index, data: Buffer.alloc(0) });
    call.on("cancelled", () => up.cancel());
    call.on("drain", () => up.resume());
    up.on("data", (message) => {
      index = message.index;
      if (!call.write(message)) up.pause();
    });
    let over = false;
    up.on("error", (error) => {
      if (!over) call.emit("error", error);
      over = true;
    });
    up.on("end", () => { // for failed calls as well: the status tells
      up.once("status", () => undefined);
    });
    up.on("status", (status) => {
      if (over || status.code !== grpc.status.OK) return;
      over = true;
      if (download && config.emptyEnd) call.write({ index: Number(index) + 1, data: Buffer.alloc(0) });
      call.end(status.metadata);
    });
  };
}

const unlimited = { "grpc.max_receive_message_length": -1, "grpc.max_send_message_length": -1 };

function started(config) {
  const server = new grpc.Server({ ...unlimited, ...config.options });
  const clients = [];
  for (const service of [packages.mmexport.ExportService, packages.auth.AuthenticationService]) {
    // With a channel of its own, so that nothing of the server before is met again.
    const options = { ...unlimited, "grpc.enable_retries": 0, "grpc.use_local_subchannel_pool": 1 };
    const client = new service(config.upstream, grpc.credentials.createInsecure(), options);
    const handlers = {};
    for (const [method, { responseStream }] of Object.entries(service.service)) {
      handlers[method] = responseStream ? stream(config, client, method) : unary(client, method);
    }
    server.addService(service.service, handlers);
    clients.push(client);
  }
  const credentials = config.cert
    ? grpc.ServerCredentials.createSsl(null, [
      { cert_chain: fs.readFileSync(config.cert), private_key: fs.readFileSync(config.key) },
    ])
    : grpc.ServerCredentials.createInsecure();
  return new Promise((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${config.port ?? 0}`, credentials, (error, port) => {
      if (error) reject(error);
      else resolve({ server, clients, port });
    });
  });
}

let front;
const orders = {
  serve: async (config) => {
    refusals = 0;
    front = await started(JSON.parse(config));
    return front.port;
  },
  refused: async () => refusals,
  drain: async (seconds) => {
    front.server.drain(`127.0.0.1:${front.port}`, Number(seconds) * 1000);
    return "drain";
  },
  end: async () => {
    front.server.forceShutdown();
    for (const client of front.clients) client.close();
    front = undefined;
    return "end";
  },
};

const lines = readline.createInterface({ input: process.stdin });
lines.on("line", async (line) => {
  const [, what, argument] = /^(\w+) ?(.*)$/.exec(line);
  console.log(await orders[what](argument));
});
lines.on("close", () => process.exit(0));

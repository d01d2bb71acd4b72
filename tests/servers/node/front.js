// A gRPC server in Node before the simulator: every call comes in over grpc-js's own HTTP/2, is read and written
// with protobufjs, and is answered by the simulator. So the whole behaviour suite can run against another server.
//
// node front.js CONFIG, where CONFIG is JSON:
//   protos   folder of the project's .proto files
//   upstream host:port of the simulator, plaintext
//   cert, key  PEM files; without them plaintext
//   options  of the grpc-js server, such as grpc.max_send_message_length
//   emptyEnd, emptyBegin  true: a download ends, or begins, with a block without bytes
//   least, most  bytes: a download with smaller or larger blocks is refused with `code` and `details`
//
// Says its port in the first line of standard output. Each line of standard input is an order: `drain SECONDS` sends
// GOAWAY on all connections and ends them after that time. Ends with its standard input.
"use strict";

const fs = require("fs");
const readline = require("readline");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const config = JSON.parse(process.argv[2]);
const files = ["axxonsoft/bl/mmexport/ExportService.proto", "axxonsoft/bl/auth/Authentication.proto"];
const definition = loader.loadSync(files, {
  includeDirs: [config.protos], keepCase: true, longs: String, enums: Number,
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

function refused(request) {
  const size = Number(request.chunk_size_kb) * 1024;
  return size > (config.most ?? Infinity) || size < (config.least ?? 0);
}

function stream(client, method) {
  const download = method === "DownloadFile";
  return (call) => {
    if (download && refused(call.request)) {
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

const server = new grpc.Server({
  "grpc.max_receive_message_length": -1, "grpc.max_send_message_length": -1, ...config.options,
});
const options = { "grpc.max_receive_message_length": -1, "grpc.max_send_message_length": -1, "grpc.enable_retries": 0 };
for (const service of [packages.mmexport.ExportService, packages.auth.AuthenticationService]) {
  const client = new service(config.upstream, grpc.credentials.createInsecure(), options);
  const handlers = {};
  for (const [method, { responseStream }] of Object.entries(service.service)) {
    handlers[method] = (responseStream ? stream : unary)(client, method);
  }
  server.addService(service.service, handlers);
}
const credentials = config.cert
  ? grpc.ServerCredentials.createSsl(null, [
    { cert_chain: fs.readFileSync(config.cert), private_key: fs.readFileSync(config.key) },
  ])
  : grpc.ServerCredentials.createInsecure();
const address = `127.0.0.1:${config.port ?? 0}`;
server.bindAsync(address, credentials, (error, port) => {
  if (error) throw error;
  console.log(port);
  const orders = readline.createInterface({ input: process.stdin });
  orders.on("line", (order) => {
    const [what, seconds] = order.split(" ");
    if (what === "drain") server.drain(`127.0.0.1:${port}`, Number(seconds) * 1000);
    console.log(what);
  });
  orders.on("close", () => process.exit(0));
});

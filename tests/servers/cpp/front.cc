// A gRPC server in C++ before the simulator: every call is read and written with the project's messages and Debian's
// gRPC, as the vendor's server is, and answered by the simulator. So the behaviour suite can run against it.
//
// front UPSTREAM PORT [CERT KEY]: says its port in the first line of standard output; ends with its standard input.
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>

#include <grpcpp/grpcpp.h>

#include "axxonsoft/bl/auth/Authentication.grpc.pb.h"
#include "axxonsoft/bl/mmexport/ExportService.grpc.pb.h"

namespace {

namespace auth = axxonsoft::bl::auth;
namespace mm = axxonsoft::bl::mmexport;

/// What the client sent beside the message; its deadline and its cancelling come by themselves.
std::unique_ptr<grpc::ClientContext> Forwarded(grpc::ServerContext* context) {
  auto up = grpc::ClientContext::FromServerContext(*context);
  for (const auto& [key, value] : context->client_metadata()) {
    const std::string name(key.data(), key.size());
    if (name != "user-agent" && name.rfind("grpc-", 0) != 0) {
      up->AddMetadata(name, std::string(value.data(), value.size()));
    }
  }
  return up;
}

template <typename Message, typename Reader>
grpc::Status Copy(Reader reader, grpc::ServerWriter<Message>* writer, grpc::ClientContext* up) {
  Message message;
  while (reader->Read(&message)) {
    if (!writer->Write(message)) {
      up->TryCancel();
      break;
    }
  }
  return reader->Finish();
}

#define FORWARD(METHOD, REQUEST, RESPONSE)                                                       \
  grpc::Status METHOD(grpc::ServerContext* context, const REQUEST* request, RESPONSE* response)  \
      override {                                                                                 \
    return stub_->METHOD(Forwarded(context).get(), *request, response);                          \
  }
#define FORWARD_STREAM(METHOD, REQUEST, MESSAGE)                                  \
  grpc::Status METHOD(grpc::ServerContext* context, const REQUEST* request,       \
                      grpc::ServerWriter<MESSAGE>* writer) override {             \
    auto up = Forwarded(context);                                                 \
    return Copy<MESSAGE>(stub_->METHOD(up.get(), *request), writer, up.get());    \
  }

class Export final : public mm::ExportService::Service {
 public:
  explicit Export(std::shared_ptr<grpc::Channel> channel) : stub_(mm::ExportService::NewStub(channel)) {}
  FORWARD_STREAM(ListSessions, mm::ListSessionsRequest, mm::ListSessionsResponse)
  FORWARD(StartSession, mm::StartSessionRequest, mm::StartSessionResponse)
  FORWARD(GetSessionState, mm::GetSessionStateRequest, mm::GetSessionStateResponse)
  FORWARD(StopSession, mm::StopSessionRequest, mm::StopSessionResponse)
  FORWARD(DestroySession, mm::DestroySessionRequest, mm::DestroySessionResponse)
  FORWARD_STREAM(DownloadFile, mm::DownloadFileRequest, mm::FileChunk)

 private:
  std::unique_ptr<mm::ExportService::Stub> stub_;
};

class Authentication final : public auth::AuthenticationService::Service {
 public:
  explicit Authentication(std::shared_ptr<grpc::Channel> channel)
      : stub_(auth::AuthenticationService::NewStub(channel)) {}
  FORWARD(AuthenticateEx2, auth::AuthenticateRequest, auth::AuthenticateResponseEx)
  FORWARD(AuthenticateBySecondFactor, auth::AuthenticateBySecondFactorRequest, auth::AuthenticateResponseEx)
  FORWARD(RenewSession2, auth::RenewSessionRequest, auth::AuthenticateResponseEx)
  FORWARD(CloseSession, auth::CloseSessionRequest, auth::CloseSessionResponse)

 private:
  std::unique_ptr<auth::AuthenticationService::Stub> stub_;
};

std::string Contents(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  auto channel = grpc::CreateCustomChannel(argv[1], grpc::InsecureChannelCredentials(), arguments);
  Export service(channel);
  Authentication authentication(channel);
  auto credentials = grpc::InsecureServerCredentials();
  if (argc > 4) {
    grpc::SslServerCredentialsOptions tls;
    tls.pem_key_cert_pairs.push_back({Contents(argv[4]), Contents(argv[3])});
    credentials = grpc::SslServerCredentials(tls);
  }
  int port = 0;
  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(-1);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddListeningPort(std::string("127.0.0.1:") + argv[2], credentials, &port);
  builder.RegisterService(&service);
  builder.RegisterService(&authentication);
  auto server = builder.BuildAndStart();
  if (!server || port == 0) return 1;
  std::cout << port << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
  }
  server->Shutdown(std::chrono::system_clock::now());
  server->Wait();
}

// bench/server.py again, in C++ and as cheap as gRPC lets it: no payload byte is copied before gRPC writes it to its
// socket, since messages are slices over the mapped files, and one thread serves all calls.
//
//     server DIRECTORY [--host ADDRESS] [--sessions COUNT]
//
// The same answers to the same calls and the same lines on standard input and output. It ends with its input.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>

#include "axxonsoft/bl/mmexport/ExportService.pb.h"

namespace {

namespace mm = axxonsoft::bl::mmexport;

const std::string kSession = "hosts/Bench/7b1d9a52-3f0e-4c68-9d5b-6a1f2e8c4d70";
const std::string kService = "/axxonsoft.bl.mmexport.ExportService/";

struct File {
  const uint8_t* data = nullptr;
  uint64_t size = 0;
};

File Mapped(const std::filesystem::path& path) {
  File file;
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat found;
  if (descriptor < 0 || fstat(descriptor, &found) != 0) {
    perror(path.c_str());
    exit(1);
  }
  file.size = static_cast<uint64_t>(found.st_size);
  if (file.size != 0) {
    void* at = mmap(nullptr, file.size, PROT_READ, MAP_SHARED | MAP_POPULATE, descriptor, 0);
    if (at == MAP_FAILED) {
      perror(path.c_str());
      exit(1);
    }
    file.data = static_cast<const uint8_t*>(at);
  }
  close(descriptor);
  return file;
}

/// What the benchmark asks about.
class Counters {
 public:
  void Reset() {
    const std::lock_guard<std::mutex> guard(lock_);
    calls_.clear();
    bytes_ = 0;
    most_active_ = active_;
  }
  void Called(const std::string& method) {
    const std::lock_guard<std::mutex> guard(lock_);
    ++calls_[method];
  }
  void Started() {
    const std::lock_guard<std::mutex> guard(lock_);
    most_active_ = std::max(most_active_, ++active_);
  }
  void Ended() {
    const std::lock_guard<std::mutex> guard(lock_);
    --active_;
  }
  void Sent(uint64_t count) {
    const std::lock_guard<std::mutex> guard(lock_);
    bytes_ += count;
  }
  /// As JSON.
  std::string Stats() {
    const std::lock_guard<std::mutex> guard(lock_);
    std::string calls;
    for (const auto& [method, count] : calls_) {
      calls += (calls.empty() ? "\"" : ", \"") + method + "\": " + std::to_string(count);
    }
    const auto downloads = calls_.find("DownloadFile");
    return "{\"calls\": {" + calls + "}, \"downloads\": " +
           std::to_string(downloads == calls_.end() ? 0 : downloads->second) +
           ", \"bytes\": " + std::to_string(bytes_) + ", \"active\": " + std::to_string(active_) +
           ", \"most_active\": " + std::to_string(most_active_) + "}";
  }

 private:
  std::mutex lock_;
  std::map<std::string, uint64_t> calls_;
  uint64_t bytes_ = 0;
  int active_ = 0;
  int most_active_ = 0;
};

void AppendVarint(uint64_t value, std::string* out) {
  for (; value > 0x7F; value >>= 7) {
    out->push_back(static_cast<char>((value & 0x7F) | 0x80));
  }
  out->push_back(static_cast<char>(value));
}

/// A FileChunk: its head encoded by hand, its data where it is mapped.
grpc::ByteBuffer Chunk(uint64_t index, const uint8_t* data, uint64_t length) {
  std::string head;
  if (index != 0) {
    head.push_back('\x08');
    AppendVarint(index, &head);
  }
  head.push_back('\x12');
  AppendVarint(length, &head);
  const grpc::Slice slices[] = {grpc::Slice(head), grpc::Slice(data, length, grpc::Slice::STATIC_SLICE)};
  return grpc::ByteBuffer(slices, 2);
}

grpc::ByteBuffer Encoded(const google::protobuf::Message& message) {
  const grpc::Slice slice(message.SerializeAsString());
  return grpc::ByteBuffer(&slice, 1);
}

bool Decoded(grpc::ByteBuffer* buffer, google::protobuf::Message* message) {
  grpc::Slice slice;
  return buffer->DumpToSingleSlice(&slice).ok() &&
         message->ParseFromArray(slice.begin(), static_cast<int>(slice.size()));
}

/// What is served, and to whom.
class Export {
 public:
  Export(const std::string& directory, int sessions) {
    for (const auto& entry : std::filesystem::directory_iterator(directory)) {
      files_[entry.path().filename()] = Mapped(entry.path());
    }
    ids_.push_back(kSession);
    for (int number = 1; number < sessions; ++number) {
      char id[64];
      snprintf(id, sizeof id, "hosts/Bench/00000000-0000-0000-0000-%012x", number);
      ids_.push_back(id);
    }
    known_.insert(ids_.begin(), ids_.end());
  }

  bool Knows(const std::string& session) const { return known_.count(session) != 0; }

  const File* Find(const std::string& name) const {
    const auto found = files_.find(name);
    return found == files_.end() ? nullptr : &found->second;
  }

  mm::State State() const {
    mm::State state;
    state.set_state(mm::S_COMPLETED);
    state.set_last_frame_timestamp("20260511T081411.000000");
    state.mutable_result()->set_succeeded(true);
    for (const auto& [name, content] : files_) {
      auto* file = state.mutable_result()->add_files();
      file->set_path(name);
      file->set_size(content.size);
      file->set_min_timestamp("20260511T080411.000000");
      file->set_max_timestamp("20260511T081411.000000");
      file->set_mime_type("video/mp4");
    }
    return state;
  }

  mm::ListSessionsResponse List() const {
    mm::Options options;
    options.mutable_archive()->set_start_timestamp("20260511T080411");
    options.mutable_archive()->set_end_timestamp("20260511T081411");
    options.mutable_archive()->add_sources()->set_origin("hosts/Bench/DeviceIpint.1/SourceEndpoint.video:0:0");
    options.mutable_stream()->set_format(mm::StreamType::MP4);
    mm::ListSessionsResponse response;
    const mm::State state = State();
    for (const std::string& id : ids_) {
      auto* info = response.add_sessions();
      info->mutable_session()->set_id(id);
      *info->mutable_session()->mutable_options() = options;
      *info->mutable_state() = state;
    }
    return response;
  }

 private:
  std::map<std::string, File> files_;
  std::vector<std::string> ids_;
  std::set<std::string> known_;
};

struct Serving {
  Export served;
  Counters counters;
  grpc::AsyncGenericService service;
  std::unique_ptr<grpc::ServerCompletionQueue> queue;

  Serving(const std::string& directory, int sessions) : served(directory, sessions) {}
};

/// One call, from waiting for it to its end. At most one step of it is under way; its end is told apart, and may come first.
class Call {
 public:
  /// What the queue gives back.
  struct Event {
    Call* call;
    bool is_end;
  };

  explicit Call(Serving* serving) : serving_(serving), stream_(&context_) {
    context_.AsyncNotifyWhenDone(&end_);
    serving_->service.RequestCall(&context_, &stream_, serving_->queue.get(), serving_->queue.get(), &step_);
  }

  void Happened(bool is_end, bool ok) {
    if (is_end) {
      ended_ = true;
      if (active_) {
        serving_->counters.Ended();
      }
    } else {
      stepping_ = false;
      Step(ok);
    }
    if (ended_ && !stepping_) {
      delete this;
    }
  }

 private:
  void Step(bool ok) {
    switch (state_) {
      case kWaiting:
        if (!ok) {  // the server shuts down: there is no call, hence no end of it
          ended_ = true;
          return;
        }
        new Call(serving_);
        state_ = kAsked;
        stepping_ = true;
        stream_.Read(&request_, &step_);
        return;
      case kAsked:
        ok ? Answer() : Finish(grpc::Status(grpc::StatusCode::INTERNAL, "no request"));
        return;
      case kSending:
        if (ok) {
          Next();
        }  // otherwise it was cancelled
        return;
      case kFinished:
        return;
    }
  }

  void Answer() {
    const std::string& path = context_.method();
    const std::string method = path.rfind(kService, 0) == 0 ? path.substr(kService.size()) : "";
    if (method == "ListSessions") {
      serving_->counters.Called(method);
      Finish(Encoded(serving_->served.List()));
    } else if (method == "GetSessionState") {
      serving_->counters.Called(method);
      mm::GetSessionStateRequest asked;
      if (!Decoded(&request_, &asked) || !serving_->served.Knows(asked.session_id())) {
        return Finish(NotFound());
      }
      mm::GetSessionStateResponse response;
      *response.mutable_session_state() = serving_->served.State();
      Finish(Encoded(response));
    } else if (method == "DownloadFile") {
      serving_->counters.Called(method);
      Download();
    } else {
      Finish(grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "Method not found!"));
    }
  }

  void Download() {
    mm::DownloadFileRequest asked;
    file_ = Decoded(&request_, &asked) ? serving_->served.Find(asked.file_path()) : nullptr;
    if (file_ == nullptr || !serving_->served.Knows(asked.session_id())) {
      return Finish(NotFound());
    }
    if (asked.chunk_size_kb() == 0) {
      return Finish(grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "chunk_size_kb is missing"));
    }
    // No file is as large as the largest block that 64 bits of bytes can say.
    block_ = std::min<uint64_t>(asked.chunk_size_kb(), UINT64_MAX >> 10) << 10;
    index_ = asked.start_from_chunk_index();
    active_ = !ended_;
    if (active_) {
      serving_->counters.Started();
    }
    state_ = kSending;
    Next();
  }

  void Next() {
    if (file_->size == 0 || index_ > (file_->size - 1) / block_) {
      return Finish(grpc::Status::OK);
    }
    const uint64_t start = index_ * block_, length = std::min(block_, file_->size - start);
    serving_->counters.Sent(length);
    stepping_ = true;
    stream_.Write(Chunk(index_++, file_->data + start, length), &step_);
  }

  void Finish(const grpc::Status& status) {
    state_ = kFinished;
    stepping_ = true;
    stream_.Finish(status, &step_);
  }

  void Finish(const grpc::ByteBuffer& last) {
    state_ = kFinished;
    stepping_ = true;
    stream_.WriteAndFinish(last, grpc::WriteOptions(), grpc::Status::OK, &step_);
  }

  static grpc::Status NotFound() {
    return grpc::Status(grpc::StatusCode::NOT_FOUND, "There is no session with provided ID");
  }

  enum { kWaiting, kAsked, kSending, kFinished } state_ = kWaiting;
  Serving* const serving_;
  grpc::GenericServerContext context_;
  grpc::GenericServerAsyncReaderWriter stream_;
  grpc::ByteBuffer request_;
  Event step_{this, false};
  Event end_{this, true};
  bool stepping_ = true;
  bool ended_ = false;
  bool active_ = false;
  const File* file_ = nullptr;
  uint64_t block_ = 0;
  uint64_t index_ = 0;
};

void Serve(Serving* serving) {
  new Call(serving);
  void* tag = nullptr;
  bool ok = false;
  while (serving->queue->Next(&tag, &ok)) {
    const auto* event = static_cast<Call::Event*>(tag);
    event->call->Happened(event->is_end, ok);
  }
}

std::string Contents(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

int main(int count, char** words) {
  std::string directory, host = "127.0.0.1";
  int sessions = 1;
  auto credentials = grpc::InsecureServerCredentials();
  for (int at = 1; at < count; ++at) {
    const std::string word = words[at];
    if (word == "--host" && at + 1 < count) {
      host = words[++at];
    } else if (word == "--sessions" && at + 1 < count) {
      sessions = atoi(words[++at]);
    } else if (word == "--tls" && at + 2 < count) {
      grpc::SslServerCredentialsOptions tls;
      const std::string certificate = Contents(words[++at]);
      tls.pem_key_cert_pairs.push_back({Contents(words[++at]), certificate});
      credentials = grpc::SslServerCredentials(tls);
    } else {
      directory = word;
    }
  }
  if (directory.empty()) {
    std::cerr << "usage: server DIRECTORY [--host ADDRESS] [--sessions COUNT] [--tls CERTIFICATE KEY]\n";
    return 2;
  }
  Serving serving(directory, sessions);
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(host + ":0", credentials, &port);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.SetMaxSendMessageSize(-1);
  builder.RegisterAsyncGenericService(&serving.service);
  serving.queue = builder.AddCompletionQueue();
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (!server || port == 0) {
    std::cerr << "cannot listen at " << host << "\n";
    return 1;
  }
  std::thread(Serve, &serving).detach();
  std::cout << port << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    if (line == "reset") {
      serving.counters.Reset();
    }
    std::cout << serving.counters.Stats() << std::endl;
  }
  fflush(nullptr);
  _exit(0);  // calls may be under way, and nobody waits for them
}

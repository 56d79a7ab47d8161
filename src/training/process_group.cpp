#include "training/process_group.h"

#include <cstdlib>
#include <functional>
#include <optional>

#include "base/error.h"
#include "base/text.h"
#include "base/torch_distributed.h"

namespace lorikeet {
namespace {

class Alone : public ProcessGroup {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void sum(const std::vector<Tensor>&) override {}
  std::string broadcast(const std::string& bytes) override { return bytes; }
  void barrier() override {}
};

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// What the environment says of this process.
struct Membership {
  int rank = 0, size = 1;
  std::string host;
  uint16_t port = 0;
};

Membership read_membership() {
  const std::string hint = "torchrun sets RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT; for one process alone unset RANK";
  auto number = [&](const char* name, int64_t least, int64_t most) {
    const std::string text = variable(name);
    const std::optional<int64_t> value = parse_int(text);
    if (!value || *value < least || *value > most) {
      const std::string range = std::to_string(least) + " to " + std::to_string(most);
      throw Error(ErrorKind::bad_input,
                  "the environment variable " + std::string(name) + " is \"" + text + "\"; it must be a number of " + range, hint);
    }
    return *value;
  };
  Membership own;
  own.size = static_cast<int>(number("WORLD_SIZE", 1, 65536));
  own.rank = static_cast<int>(number("RANK", 0, own.size - 1));
  if (own.size == 1) return own;
  own.host = variable("MASTER_ADDR");
  if (own.host.empty()) throw Error(ErrorKind::bad_input, "the environment variable MASTER_ADDR is not set", hint);
  own.port = static_cast<uint16_t>(number("MASTER_PORT", 1, 65535));
  return own;
}

#if defined(LORIKEET_GLOO) || defined(LORIKEET_NCCL)

// As large as DistributedDataParallel's; a piece is copied together, summed, copied back.
constexpr int64_t kPieceElements = 25 * 1024 * 1024 / 4;

// Runs `work`; what libtorch throws becomes our Error with the first line of its text.
template <class Work>
auto with_others(const Membership& own, const std::string& what, Work work) {
  try {
    return work();
  } catch (const std::exception& error) {
    const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
    const std::string text = torch_error != nullptr ? torch_error->what_without_backtrace() : error.what();
    throw Error(ErrorKind::io,
                "process " + std::to_string(own.rank) + " of " + std::to_string(own.size) + " could not " + what + ": " +
                    std::string(trim(split(text, '\n').front())),
                "another process ended or hangs: its own message says why; the run can be resumed");
  }
}

// Backend: libtorch's class. device: where it wants its tensors.
template <class Backend>
class TorchGroup : public ProcessGroup {
 public:
  TorchGroup(Membership own, c10::intrusive_ptr<c10d::Store> store, c10::intrusive_ptr<Backend> backend, Device device)
      : own_(std::move(own)), store_(std::move(store)), backend_(std::move(backend)), device_(device) {}

  int rank() const override { return own_.rank; }
  int size() const override { return own_.size; }

  void sum(const std::vector<Tensor>& tensors) override {
    torch::NoGradGuard no_grad;
    std::vector<Tensor> piece;
    int64_t elements = 0;
    for (const Tensor& tensor : tensors) {
      if (tensor.scalar_type() != torch::kFloat)
        throw Error(ErrorKind::internal, "sums over processes are of float32, not of " + to_string(tensor.scalar_type()));
      if (elements > 0 && elements + tensor.numel() > kPieceElements) {
        sum_piece(piece, elements);
        piece.clear();
        elements = 0;
      }
      piece.push_back(tensor.detach());
      elements += tensor.numel();
    }
    if (elements > 0) sum_piece(piece, elements);
  }

  std::string broadcast(const std::string& bytes) override {
    const std::string key = "broadcast/" + std::to_string(broadcasts_++);
    if (own_.rank == 0) {
      with_others(own_, "send", [&] { store_->set(key, std::vector<uint8_t>(bytes.begin(), bytes.end())); });
      barrier();
      with_others(own_, "send", [&] { return store_->deleteKey(key); });
      return bytes;
    }
    const std::vector<uint8_t> got = with_others(own_, "receive", [&] { return store_->get(key); });
    barrier();
    return {got.begin(), got.end()};
  }

  // A sum of nothing: unlike libtorch's own barrier the same for all backends.
  void barrier() override { sum({torch::zeros({1})}); }

 private:
  void sum_piece(const std::vector<Tensor>& piece, int64_t elements) {
    Tensor flat = torch::empty({elements}, torch::TensorOptions(torch::kFloat).device(device_));
    auto each = [&](const std::function<void(const Tensor& tensor, const Tensor& part)>& visit) {
      int64_t at = 0;
      for (const Tensor& tensor : piece) {
        visit(tensor, flat.slice(0, at, at + tensor.numel()).view(tensor.sizes()));
        at += tensor.numel();
      }
    };
    each([](const Tensor& tensor, const Tensor& part) { part.copy_(tensor); });
    std::vector<Tensor> all{flat};
    with_others(own_, "sum", [&] { return backend_->allreduce(all)->wait(); });
    each([](const Tensor& tensor, const Tensor& part) { tensor.copy_(part); });
  }

  Membership own_;
  c10::intrusive_ptr<c10d::Store> store_;
  c10::intrusive_ptr<Backend> backend_;
  Device device_;
  int64_t broadcasts_ = 0;
};

c10::intrusive_ptr<c10d::Store> open_store(const Membership& own, std::chrono::milliseconds timeout) {
  c10d::TCPStoreOptions options;
  options.port = own.port;
  options.isServer = own.rank == 0;
  options.numWorkers = own.size;
  options.timeout = timeout;
  take_plain_server(options);
  return with_others(own, "meet the others at " + own.host + ":" + std::to_string(own.port),
                     [&]() -> c10::intrusive_ptr<c10d::Store> { return c10::make_intrusive<c10d::TCPStore>(own.host, options); });
}

#endif

#ifdef LORIKEET_GLOO
std::shared_ptr<ProcessGroup> join_gloo(const Membership& own, std::chrono::milliseconds timeout) {
  const c10::intrusive_ptr<c10d::Store> store = open_store(own, timeout);
  const bool local = own.host == "localhost" || starts_with(own.host, "127.");
  const std::string interface = variable("GLOO_SOCKET_IFNAME");
  return with_others(own, "connect to the others", [&]() -> std::shared_ptr<ProcessGroup> {
    auto options = c10d::ProcessGroupGloo::Options::create(timeout);
    options->threads = 1;
    // On one machine the loopback address: the machine's own name may have none, or one behind a firewall.
    options->devices = {!interface.empty() ? c10d::ProcessGroupGloo::createDeviceForInterface(interface)
                        : local            ? c10d::ProcessGroupGloo::createDeviceForHostname(own.host)
                                           : c10d::ProcessGroupGloo::createDefaultDevice()};
    auto backend =
        c10::make_intrusive<c10d::ProcessGroupGloo>(c10::make_intrusive<c10d::PrefixStore>("gloo", store), own.rank, own.size, options);
    return std::make_shared<TorchGroup<c10d::ProcessGroupGloo>>(own, store, backend, torch::kCPU);
  });
}
#endif

#ifdef LORIKEET_NCCL
std::shared_ptr<ProcessGroup> join_nccl(const Membership& own, const Device& device, std::chrono::milliseconds timeout) {
  const c10::intrusive_ptr<c10d::Store> store = open_store(own, timeout);
  return with_others(own, "connect to the others", [&]() -> std::shared_ptr<ProcessGroup> {
    auto options = c10d::ProcessGroupNCCL::Options::create();
    options->timeout = timeout;
    auto backend =
        c10::make_intrusive<c10d::ProcessGroupNCCL>(c10::make_intrusive<c10d::PrefixStore>("nccl", store), own.rank, own.size, options);
    return std::make_shared<TorchGroup<c10d::ProcessGroupNCCL>>(own, store, backend, device);
  });
}
#endif

}  // namespace

std::shared_ptr<ProcessGroup> join_process_group(const Device& device, std::chrono::milliseconds timeout) {
  if (variable("RANK").empty()) return std::make_shared<Alone>();
  const Membership own = read_membership();
  if (own.size == 1) return std::make_shared<Alone>();
#ifdef LORIKEET_NCCL
  if (device.is_cuda()) return join_nccl(own, device, timeout);
#endif
#ifdef LORIKEET_GLOO
  return join_gloo(own, timeout);  // without NCCL a graphics card's tensors travel by way of the CPU
#else
  throw Error(ErrorKind::unsupported, "this build has no process groups for the device " + device.str(),
              "build with Gloo's headers (libgloo-dev on Debian), or run one process");
#endif
}

}  // namespace lorikeet

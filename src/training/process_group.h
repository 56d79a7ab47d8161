// The processes of a data-parallel run: libtorch's own process groups, Gloo on the CPU, NCCL on CUDA.
#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/torch.h"

namespace lorikeet {

// All processes make the same calls in the same order. Every call throws Error{io} when another process died or did not come within the
// timeout; after that the group is of no use.
class ProcessGroup {
 public:
  virtual ~ProcessGroup() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  // Each tensor becomes the sum over the processes; every process gets the same bits, and the same ones each time; of two processes a + b.
  // Float32, any devices, the same shapes everywhere. They travel in a few large pieces.
  virtual void sum(const std::vector<Tensor>& tensors) = 0;
  // Rank 0's bytes for everybody. For settings and decisions, not for weights.
  virtual std::string broadcast(const std::string& bytes) = 0;
  virtual void barrier() = 0;
};

// By the usual environment variables RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT (torchrun sets them); one process alone when RANK is not
// set. GLOO_SOCKET_IFNAME names the network interface, as in PyTorch. timeout: how long this and each later call waits for the other
// processes. Error: bad_input (a variable is missing or no number), io (the others cannot be reached), unsupported (a build without process
// groups).
std::shared_ptr<ProcessGroup> join_process_group(const Device& device, std::chrono::milliseconds timeout = std::chrono::minutes(10));

// `--procs N`: starts a program N times on this machine with those variables (and LOCAL_RANK, and, unless set, OMP_NUM_THREADS: each its
// share of the cores) and waits. Output: rank 0's, and of another one that fails the last lines. SIGINT and SIGTERM are passed on. A rank
// that fails ends the others: SIGTERM, after 10 s SIGKILL. -> 0, or the exit code of the first that failed (128 + signal for one that was
// killed). Error{io}: no process could be started.
int launch_processes(int count, const std::vector<std::string>& command);

}  // namespace lorikeet

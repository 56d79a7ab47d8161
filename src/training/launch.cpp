// launch_processes(): the ranks of a run on this machine, as child processes.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstring>
#include <iostream>
#include <thread>

#include "base/error.h"
#include "base/text.h"
#include "training/process_group.h"

extern char** environ;

namespace lorikeet {
namespace {

constexpr std::chrono::seconds kGrace{10};
constexpr std::chrono::milliseconds kPollEvery{50};
constexpr size_t kTailBytes = 4000;  // of a rank's output, shown when it fails

[[noreturn]] void fail(const std::string& what) {
  throw Error(ErrorKind::io, "cannot " + what + ": " + std::strerror(errno), "run fewer processes, or one alone");
}

// A port of the loopback address that nobody uses just now.
int free_port() {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* plain = reinterpret_cast<sockaddr*>(&address);
  if (listener < 0 || bind(listener, plain, size) != 0 || getsockname(listener, plain, &size) != 0) fail("find a free port");
  close(listener);
  return ntohs(address.sin_port);
}

volatile std::sig_atomic_t caught_signal = 0;

// SIGINT and SIGTERM are noted instead of ending this process.
class CaughtSignals {
 public:
  CaughtSignals() {
    caught_signal = 0;
    struct sigaction note {};
    note.sa_handler = [](int signal) { caught_signal = signal; };
    for (size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &note, &before_[i]);
  }
  ~CaughtSignals() {
    for (size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &before_[i], nullptr);
  }
  CaughtSignals(const CaughtSignals&) = delete;
  // The last one since the call before, or 0.
  static int take() {
    const int signal = caught_signal;
    caught_signal = 0;
    return signal;
  }

 private:
  static constexpr std::array<int, 2> kSignals = {SIGINT, SIGTERM};
  std::array<struct sigaction, 2> before_{};
};

struct Rank {
  pid_t pid = -1;
  int output = -1;  // its stdout and stderr, read end; -1: they are ours
  std::string tail;
  bool running = true;
  int exit_code = 0;
};

std::vector<std::string> environment_of(int rank, int count, int port) {
  std::vector<std::string> own = {"RANK=" + std::to_string(rank),
                                  "LOCAL_RANK=" + std::to_string(rank),
                                  "WORLD_SIZE=" + std::to_string(count),
                                  "LOCAL_WORLD_SIZE=" + std::to_string(count),
                                  "MASTER_ADDR=127.0.0.1",
                                  "MASTER_PORT=" + std::to_string(port)};
  if (std::getenv("OMP_NUM_THREADS") == nullptr) {
    const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
    own.push_back("OMP_NUM_THREADS=" + std::to_string(std::max(1, cores / count)));
  }
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const std::string key = text.substr(0, text.find('=') + 1);
    if (std::none_of(own.begin(), own.end(), [&](const std::string& set) { return starts_with(set, key); })) own.push_back(text);
  }
  return own;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (std::string& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

Rank start(std::vector<std::string> command, std::vector<std::string> environment, bool own_output) {
  int ends[2] = {-1, -1};
  if (!own_output && pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) fail("make a pipe");
  const std::vector<char*> arguments = pointers(command), variables = pointers(environment);
  const pid_t parent = getpid(), pid = fork();
  if (pid < 0) fail("start a process");
  if (pid == 0) {
    // Between fork and exec only what a signal handler may do. The child ends with its parent, and has a group of its own: the terminal's
    // Ctrl-C reaches the parent only, which passes it on.
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(1);
    setpgid(0, 0);
    for (int signal : {SIGINT, SIGTERM}) std::signal(signal, SIG_DFL);
    if (!own_output) {
      fcntl(ends[1], F_SETFL, 0);  // the program itself expects to wait
      dup2(ends[1], STDOUT_FILENO);
      dup2(ends[1], STDERR_FILENO);
    }
    execvpe(arguments[0], arguments.data(), variables.data());
    constexpr std::string_view kText = "the program cannot be started\n";
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, kText.data(), kText.size());
    _exit(127);
  }
  if (!own_output) close(ends[1]);
  Rank rank;
  rank.pid = pid;
  rank.output = ends[0];
  return rank;
}

void read_output(Rank& rank) {
  char buffer[4096];
  while (rank.output >= 0) {
    const ssize_t count = read(rank.output, buffer, sizeof buffer);
    if (count < 0) return;  // nothing more just now
    if (count == 0) {
      close(rank.output);
      rank.output = -1;
      return;
    }
    rank.tail.append(buffer, static_cast<size_t>(count));
    if (rank.tail.size() > 2 * kTailBytes) rank.tail.erase(0, rank.tail.size() - kTailBytes);
  }
}

// True when it has just ended.
bool ended(Rank& rank) {
  int status = 0;
  if (!rank.running || waitpid(rank.pid, &status, WNOHANG) != rank.pid) return false;
  rank.running = false;
  rank.exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return true;
}

void show_failure(const Rank& rank, int number) {
  std::string_view tail = trim(rank.tail);
  if (tail.size() > kTailBytes) tail.remove_prefix(tail.size() - kTailBytes);
  std::cerr << "process " << number << " ended with exit code " << rank.exit_code << (tail.empty() ? "" : "; its last lines:\n") << tail
            << "\n";
}

class Ranks {
 public:
  Ranks() = default;
  ~Ranks() {
    send(SIGKILL);  // those that an exception left behind
    for (Rank& rank : ranks_) {
      if (rank.running) waitpid(rank.pid, nullptr, 0);
      if (rank.output >= 0) close(rank.output);
    }
  }
  Ranks(const Ranks&) = delete;

  void start_all(int count, const std::vector<std::string>& command) {
    const int port = free_port();
    for (int i = 0; i < count; ++i) ranks_.push_back(start(command, environment_of(i, count, port), i == 0));
  }

  int wait() {
    int result = 0;
    bool asked_to_stop = false;
    std::chrono::steady_clock::time_point kill_at = std::chrono::steady_clock::time_point::max();
    while (std::any_of(ranks_.begin(), ranks_.end(), [](const Rank& rank) { return rank.running; })) {
      std::this_thread::sleep_for(kPollEvery);
      if (const int signal = CaughtSignals::take(); signal != 0) {
        asked_to_stop = true;
        send(signal);
      }
      for (size_t i = 0; i < ranks_.size(); ++i) {
        read_output(ranks_[i]);
        if (!ended(ranks_[i]) || ranks_[i].exit_code == 0) continue;
        read_output(ranks_[i]);
        if (result != 0) continue;
        result = ranks_[i].exit_code;
        if (i > 0) show_failure(ranks_[i], static_cast<int>(i));
        // Ranks that were asked to stop may still be saving; they see by themselves that others have gone.
        if (asked_to_stop) continue;
        send(SIGTERM);
        kill_at = std::chrono::steady_clock::now() + kGrace;
      }
      if (std::chrono::steady_clock::now() >= kill_at) send(SIGKILL);
    }
    return result;
  }

 private:
  void send(int signal) {
    for (const Rank& rank : ranks_) {
      if (!rank.running) continue;
      kill(rank.pid, signal);
      kill(rank.pid, SIGCONT);  // one that was stopped would not see it
    }
  }
  std::vector<Rank> ranks_;
};

}  // namespace

int launch_processes(int count, const std::vector<std::string>& command) {
  if (count < 1 || command.empty()) throw Error(ErrorKind::internal, "no process to start");
  const CaughtSignals signals;
  Ranks ranks;
  ranks.start_all(count, command);
  return ranks.wait();
}

}  // namespace lorikeet

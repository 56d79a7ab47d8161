// The ranks are this test program itself, started anew: DISABLED_ tests below are what they do. (A fork without exec of a process that has
// used libtorch's threads would hang.)
#include "training/process_group.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/error.h"
#include "base/scratch.h"
#include "base/text.h"
#include "base/torch_distributed.h"
#include "io/tensor_file.h"
#include "training/diffusion_loss.h"

using namespace lorikeet;
namespace fs = std::filesystem;

namespace process_group_test {
namespace {

constexpr const char* kFolder = "LORIKEET_TEST_FOLDER";  // where ranks leave what they found

std::vector<std::string> command_of(const std::string& body) {
  return {"/proc/self/exe", "--gtest_also_run_disabled_tests", "--gtest_brief=1", "--gtest_filter=ProcessGroupRank.DISABLED_" + body};
}

fs::path folder() { return std::getenv(kFolder); }

// The processes that a test starts find it by their environment.
class SharedFolder : public lorikeet::testing::ScratchFolder {
 public:
  SharedFolder() { setenv(kFolder, path().c_str(), 1); }
  ~SharedFolder() { unsetenv(kFolder); }
};

std::string text_of(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Different on each rank, not of one piece's size, with values whose order of summation matters.
std::vector<Tensor> tensors_of(int rank) {
  torch::manual_seed(1000 + rank);
  return {torch::randn({7, 3}), torch::randn({8 * 1024 * 1024 + 5}), torch::randn({1}) * 1e6,
          torch::randn({4, 2, 3, 3}).contiguous(torch::MemoryFormat::ChannelsLast)};
}

int rank_of_environment() { return std::atoi(std::getenv("RANK")); }

// Of the loss of rows first … first + rows - 1 of the batch of four.
Tensor gradient_of_rows(int64_t first, int64_t rows) {
  torch::manual_seed(9);
  const Tensor latents = torch::randn({4, 4, 8, 8}), weight = (torch::randn({4, 4, 3, 3}) * 0.1).requires_grad_();
  LossBatch batch;
  batch.latents = latents.slice(0, first, first + rows);
  for (int64_t i = first; i < first + rows; ++i) batch.random.push_back(static_cast<uint64_t>(70 + i));
  const DiffusionLoss loss({}, scaled_linear_schedule(), find_prediction("epsilon"));
  loss(batch, [&](const Tensor& x, const Tensor&) { return torch::conv2d(x, weight, {}, 1, 1); }).mean.backward();
  return weight.grad();
}

}  // namespace

// --- what the ranks do ---

TEST(ProcessGroupRank, DISABLED_SumsAndBroadcasts) {
  const int rank = rank_of_environment();
  auto group = join_process_group(torch::kCPU, std::chrono::seconds(60));
  ASSERT_EQ(group->rank(), rank);
  const std::vector<Tensor> tensors = tensors_of(rank);
  group->sum(tensors);
  const std::string got = group->broadcast(rank == 0 ? "from\0rank 0" + std::string(1, '\0') : "from another");
  const std::string again = group->broadcast(std::to_string(rank));
  group->barrier();
  std::map<std::string, Tensor> found;
  for (size_t i = 0; i < tensors.size(); ++i) found["tensor" + std::to_string(i)] = tensors[i];
  write_safetensors(folder() / ("rank" + std::to_string(rank)), found, {{"got", got + "," + again + "," + std::to_string(group->size())}});
}

TEST(ProcessGroupRank, DISABLED_SumsGradients) {
  auto group = join_process_group(torch::kCPU, std::chrono::seconds(60));
  const int64_t rows = 4 / group->size();
  const Tensor gradient = gradient_of_rows(group->rank() * rows, rows);
  group->sum({gradient});
  gradient.div_(group->size());
  write_safetensors(folder() / ("rank" + std::to_string(group->rank())), {{"gradient", gradient}}, {});
}

TEST(ProcessGroupRank, DISABLED_LosesItsPartner) {
  std::signal(SIGTERM, SIG_IGN);  // the launcher's, which is quicker than this test
  const bool hangs = std::getenv("LORIKEET_TEST_HANGS") != nullptr;
  // A broken connection is noticed at once, long before the timeout.
  auto group = join_process_group(torch::kCPU, std::chrono::seconds(hangs ? 6 : 60));
  group->barrier();
  if (group->rank() == 1) {
    std::signal(SIGTERM, SIG_DFL);
    raise(hangs ? SIGSTOP : SIGKILL);
  }
  std::string message = "no error";
  try {
    group->sum({torch::ones({100})});
  } catch (const Error& error) {
    message = std::string(name(error.kind())) + ": " + error.what();
  }
  std::ofstream(folder() / "message") << message << std::flush;
  _exit(3);
}

TEST(ProcessGroupRank, DISABLED_WaitsForEver) {
  std::ofstream(folder() / ("pid" + std::to_string(rank_of_environment()))) << getpid();
  for (;;) std::this_thread::sleep_for(std::chrono::seconds(1));
}

TEST(ProcessGroupRank, DISABLED_SecondFails) {
  std::cout << "last words of " << rank_of_environment() << std::endl;
  if (rank_of_environment() == 1) _exit(7);
  for (;;) std::this_thread::sleep_for(std::chrono::seconds(1));
}

// --- the tests ---

#ifdef LORIKEET_GLOO

TEST(ProcessGroup, SumsToTheSameBitsOnAllRanks) {
  const SharedFolder scratch;
  ASSERT_EQ(launch_processes(2, command_of("SumsAndBroadcasts")), 0);
  auto first = TensorFile::open(scratch / "rank0"), second = TensorFile::open(scratch / "rank1");
  const auto a = tensors_of(0), b = tensors_of(1);
  for (size_t i = 0; i < a.size(); ++i) {
    const std::string name = "tensor" + std::to_string(i);
    EXPECT_TRUE(torch::equal(first->read(name), a[i] + b[i])) << name;
    EXPECT_TRUE(torch::equal(second->read(name), first->read(name))) << name;
  }
  const std::string got = std::string("from\0rank 0", 4) + std::string(1, '\0');
  EXPECT_EQ(first->metadata().at("got"), second->metadata().at("got"));
  EXPECT_EQ(first->metadata().at("got"), got + ",0,2");
}

TEST(ProcessGroup, ThreeRanksGetTheSameBitsToo) {
  const SharedFolder scratch;
  ASSERT_EQ(launch_processes(3, command_of("SumsAndBroadcasts")), 0);
  auto first = TensorFile::open(scratch / "rank0");
  for (size_t i = 0; i < tensors_of(0).size(); ++i) {
    const std::string name = "tensor" + std::to_string(i);
    const Tensor sum = first->read(name);
    // Two additions, in an order that is Gloo's own
    EXPECT_TRUE(torch::allclose(sum, tensors_of(0)[i] + tensors_of(1)[i] + tensors_of(2)[i], 1e-6, 1e-6)) << name;
    for (const char* other : {"rank1", "rank2"}) EXPECT_TRUE(torch::equal(TensorFile::open(scratch / other)->read(name), sum)) << name;
  }
}

TEST(ProcessGroup, TwoProcessesHaveTheGradientOfOneWithTheWholeBatch) {
  const SharedFolder scratch;
  ASSERT_EQ(launch_processes(2, command_of("SumsGradients")), 0);
  const Tensor together = TensorFile::open(scratch / "rank0")->read("gradient");
  EXPECT_TRUE(torch::equal(together, TensorFile::open(scratch / "rank1")->read("gradient")));
  // One backward pass sums the rows in an order of its own: equal up to float32's rounding …
  const Tensor one_pass = gradient_of_rows(0, 4);
  EXPECT_LT((together - one_pass).abs().max().item<double>(), 1e-6 * one_pass.abs().max().item<double>() + 1e-8);
  // … and to the bit where one process takes the same halves one after the other: halving is exact, and a + b is.
  EXPECT_TRUE(torch::equal(together, gradient_of_rows(0, 2) / 2 + gradient_of_rows(2, 2) / 2));
}

TEST(ProcessGroup, APartnerThatDiedIsAnError) {
  const SharedFolder scratch;
  // The first failure that the launcher sees: the process that was killed, or the one that noticed it.
  const int code = launch_processes(2, command_of("LosesItsPartner"));
  EXPECT_TRUE(code == 128 + SIGKILL || code == 3) << code;
  EXPECT_EQ(text_of(scratch / "message").find("io: process 0 of 2 could not sum: "), 0u) << text_of(scratch / "message");
}

TEST(ProcessGroup, APartnerThatHangsIsAnErrorAfterTheTimeout) {
  const SharedFolder scratch;
  setenv("LORIKEET_TEST_HANGS", "1", 1);
  EXPECT_EQ(launch_processes(2, command_of("LosesItsPartner")), 3);
  unsetenv("LORIKEET_TEST_HANGS");
  EXPECT_EQ(text_of(scratch / "message").find("io: process 0 of 2 could not sum: "), 0u) << text_of(scratch / "message");
}

TEST(ProcessGroup, APartnerThatNeverComesIsAnErrorAfterTheTimeout) {
  setenv("RANK", "1", 1), setenv("WORLD_SIZE", "2", 1), setenv("MASTER_ADDR", "127.0.0.1", 1), setenv("MASTER_PORT", "9", 1);
  try {
    join_process_group(torch::kCPU, std::chrono::seconds(1));
    ADD_FAILURE() << "nobody is there";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::io);
    EXPECT_NE(error.message().find("127.0.0.1:9"), std::string::npos) << error.message();
  }
  for (const char* name : {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}) unsetenv(name);
}

#endif

TEST(ProcessGroup, IsOneProcessAloneWithoutTheVariables) {
  unsetenv("RANK");
  auto group = join_process_group(torch::kCPU);
  EXPECT_EQ(group->rank(), 0);
  EXPECT_EQ(group->size(), 1);
  const Tensor one = torch::ones({3});
  group->sum({one});
  EXPECT_EQ(one.sum().item<float>(), 3);
  EXPECT_EQ(group->broadcast("text"), "text");
  group->barrier();
}

TEST(ProcessGroup, NamesTheVariableThatIsWrong) {
  auto message = [](const char* rank, const char* size, const char* port) {
    setenv("RANK", rank, 1), setenv("WORLD_SIZE", size, 1), setenv("MASTER_ADDR", "127.0.0.1", 1), setenv("MASTER_PORT", port, 1);
    std::string text = "no error";
    try {
      join_process_group(torch::kCPU, std::chrono::milliseconds(100));
    } catch (const Error& error) {
      text = error.kind() == ErrorKind::bad_input ? error.message() : "wrong kind";
    }
    for (const char* name : {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}) unsetenv(name);
    return text;
  };
  EXPECT_NE(message("0", "two", "29500").find("WORLD_SIZE"), std::string::npos);
  EXPECT_NE(message("2", "2", "29500").find("RANK"), std::string::npos);
  EXPECT_NE(message("0", "2", "").find("MASTER_PORT"), std::string::npos);
  EXPECT_EQ(message("0", "1", ""), "no error");
}

TEST(LaunchProcesses, ARankThatFailsEndsTheOthersAndIsHeard) {
  const SharedFolder scratch;
  ::testing::internal::CaptureStderr();
  const int code = launch_processes(3, command_of("SecondFails"));
  const std::string heard = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(code, 7);
  EXPECT_NE(heard.find("process 1 ended with exit code 7"), std::string::npos) << heard;
  EXPECT_NE(heard.find("last words of 1"), std::string::npos) << heard;
  EXPECT_EQ(heard.find("last words of 2"), std::string::npos) << heard;
}

TEST(LaunchProcesses, PassSignalsOn) {
  const SharedFolder scratch;
  std::thread interrupter([&] {
    while (text_of(scratch / "pid0").empty() || text_of(scratch / "pid1").empty())
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    kill(getpid(), SIGTERM);
  });
  EXPECT_EQ(launch_processes(2, command_of("WaitsForEver")), 128 + SIGTERM);
  interrupter.join();
  for (const char* file : {"pid0", "pid1"}) EXPECT_NE(kill(std::stoi(text_of(scratch / file)), 0), 0) << file << " still runs";
}

TEST(LaunchProcesses, AProgramThatIsNotThereIsAnExitCode) {
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(launch_processes(2, {"/nonexistent/program"}), 127);
  EXPECT_NE(::testing::internal::GetCapturedStderr().find("cannot be started"), std::string::npos);
}

}  // namespace process_group_test

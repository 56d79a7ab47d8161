#include "training/run_folder.h"

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <fstream>
#include <limits>
#include <set>
#include <sstream>

#include "base/error.h"
#include "io/tensor_file.h"

using namespace lorikeet;
namespace fs = std::filesystem;

namespace run_folder_test {
namespace {
bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

std::string text_of(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

std::set<std::string> names_in(const fs::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename().string());
  return names;
}

// Different at each step; `size` values.
RunState state_at(int64_t step, int64_t size = 6) {
  RunState state{.step = step, .tensors = {}, .values = {{"best_loss", std::to_string(step)}}};
  state.tensors.push_back({"parameter.a", torch::arange(size, torch::kFloat) + static_cast<double>(step)});
  return state;
}

template <class Work>
std::string error_of(const Work& work, ErrorKind kind = ErrorKind::bad_input) {
  try {
    work();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was refused";
  return {};
}

struct RunFolderTest : ::testing::Test {
  fs::path root = fs::temp_directory_path() / ("lorikeet_run_" + std::to_string(::getpid())), folder = root / "robot",
           backups = folder / "backups";
  TrainConfig config;
  std::vector<std::string> warnings;

  void SetUp() override {
    fs::remove_all(root);
    config.images = "photos";
    config.out = "robot";
    config.run_dir = folder.string();
    config.keep_backups = 3;
  }
  void TearDown() override { fs::remove_all(root); }

  // Backups of steps 10, 20, …, made and left.
  void make(std::initializer_list<int64_t> steps) {
    const auto run = RunFolder::create(config);
    for (const int64_t step : steps) run->save(state_at(step));
  }
  // The step that a resumed run goes on from; -1: none.
  int64_t loaded() {
    warnings.clear();
    const auto state = RunFolder::resume(folder)->load(warnings);
    if (!state) return -1;
    EXPECT_TRUE(torch::equal(state->tensors.at(0).tensor, state_at(state->step).tensors[0].tensor));
    return state->step;
  }
};
}  // namespace

TEST_F(RunFolderTest, ANewRunKeepsACompleteCopyOfItsSettings) {
  const auto run = RunFolder::create(config);
  EXPECT_EQ(run->path(), folder);
  EXPECT_EQ(run->config(), config);
  EXPECT_EQ(from_toml(text_of(folder / "run.toml")), config);
  for (const char* part : {"backups", "samples", "cache"}) EXPECT_TRUE(fs::is_directory(folder / part)) << part;
  EXPECT_FALSE(run->load(warnings).has_value());
  EXPECT_TRUE(warnings.empty());
}

TEST_F(RunFolderTest, TwoRunsInOneFolderAreRefusedWithTheNumberOfTheOther) {
  auto first = RunFolder::create(config);
  const std::string other = "process " + std::to_string(::getpid()) + " on ";
  const std::string text = error_of([&] { RunFolder::create(config); });
  EXPECT_TRUE(has(text, other) && has(text, folder.string()) && has(text, "--run-dir")) << text;
  EXPECT_TRUE(has(error_of([&] { RunFolder::resume(folder); }), other));
  first.reset();
  EXPECT_NO_THROW(RunFolder::create(config));
}

TEST_F(RunFolderTest, AKilledRunHoldsNothingAndLosesNothing) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    try {
      const auto run = RunFolder::create(config);
      LogRow row;
      for (row.step = 1; row.step <= 10; ++row.step) run->log(row);
      run->save(state_at(8));
      std::ofstream(backups / ".step-000009.safetensors.1-0.tmp") << "half";  // a save that was under way
      ::raise(SIGKILL);
    } catch (...) {
    }
    ::_exit(1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  const auto run = RunFolder::resume(folder);
  EXPECT_EQ(read_log(folder / "log.csv").size(), 10u);
  EXPECT_EQ(read_newest_backup(folder, warnings)->step, 8);
  const auto state = run->load(warnings);
  ASSERT_TRUE(state.has_value());
  EXPECT_EQ(state->step, 8);
  EXPECT_TRUE(warnings.empty());
  EXPECT_EQ(names_in(backups), (std::set<std::string>{"step-000008.safetensors"}));
  run->rewind_log(state->step);
  EXPECT_EQ(read_log(folder / "log.csv").size(), 8u);
}

TEST_F(RunFolderTest, AStateComesBackToTheBit) {
  RunState state{
      .step = 1234567, .tensors = {}, .values = {{"best_loss", "0.125"}, {"empty", ""}, {"caption", "line\n\xE7\x81\xAF \"x\""}}};
  const Tensor values = torch::tensor({1.0 / 3, -0.0, 1e-40, 3e38}, torch::kDouble);
  for (const auto dtype : {torch::kFloat, torch::kDouble, torch::kBFloat16})
    state.tensors.push_back({std::string("parameter.") + toString(dtype), values.to(dtype)});
  state.tensors.push_back({"optimizer.step", torch::tensor(int64_t{1} << 60)});
  state.tensors.push_back({"optimizer.flags", torch::tensor({true, false})});
  state.tensors.push_back({"ema.empty", torch::zeros({0, 3})});
  state.tensors.push_back({"ema.strided", torch::arange(12.0f).view({3, 4}).t()});
  const auto run = RunFolder::create(config);
  run->save(state);
  const auto read = run->load(warnings);
  ASSERT_TRUE(read.has_value());
  EXPECT_TRUE(warnings.empty()) << warnings[0];
  EXPECT_EQ(read->step, state.step);
  EXPECT_EQ(read->values, state.values);
  ASSERT_EQ(read->tensors.size(), state.tensors.size());
  for (const NamedTensor& wanted : state.tensors) {
    const auto found = std::ranges::find(read->tensors, wanted.name, &NamedTensor::name);
    ASSERT_NE(found, read->tensors.end()) << wanted.name;
    EXPECT_EQ(found->tensor.dtype(), wanted.tensor.dtype()) << wanted.name;
    ASSERT_EQ(found->tensor.sizes(), wanted.tensor.sizes()) << wanted.name;
    const Tensor one = found->tensor.contiguous(), other = wanted.tensor.contiguous();
    if (one.numel() == 0) continue;
    EXPECT_EQ(std::memcmp(one.data_ptr(), other.data_ptr(), other.nbytes()), 0) << wanted.name;
  }
}

TEST_F(RunFolderTest, TheNewestBackupsAreKeptAndThoseOfAnAbandonedCourseGo) {
  make({10, 20, 30, 40});
  EXPECT_EQ(names_in(backups), (std::set<std::string>{"step-000020.safetensors", "step-000030.safetensors", "step-000040.safetensors"}));
  EXPECT_EQ(loaded(), 40);
  make({25});  // from 20 on again: 30 and 40 were of another course
  EXPECT_EQ(names_in(backups), (std::set<std::string>{"step-000020.safetensors", "step-000025.safetensors"}));
  make({1000000});
  EXPECT_EQ(loaded(), 1000000);
}

TEST_F(RunFolderTest, ADamagedBackupIsNamedAndTheOneBeforeIsTaken) {
  make({10, 20, 30});
  fs::resize_file(backups / "step-000030.safetensors", fs::file_size(backups / "step-000030.safetensors") - 5);
  EXPECT_EQ(loaded(), 20);
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_TRUE(has(warnings[0], "step 30") && has(warnings[0], "damaged")) << warnings[0];
  const std::map<std::string, std::string> metadata{{"lorikeet.step", "20"}};
  write_safetensors(backups / "step-000020.safetensors", {{"parameter.a", torch::full({2}, std::numeric_limits<float>::quiet_NaN())}},
                    metadata);
  EXPECT_EQ(loaded(), 10);
  ASSERT_EQ(warnings.size(), 2u);
  EXPECT_TRUE(has(warnings[1], "parameter.a") && has(warnings[1], "not finite")) << warnings[1];
  std::ofstream(backups / "step-000010.safetensors").close();
  EXPECT_EQ(loaded(), -1);
  EXPECT_EQ(warnings.size(), 3u);
  write_safetensors(backups / "step-000010.safetensors", {{"parameter.a", torch::zeros(2)}}, {});  // not ours
  EXPECT_EQ(loaded(), -1);
  write_safetensors(backups / "step-000010.safetensors", {{"parameter.a", torch::zeros(2)}}, metadata);  // of step 20, renamed
  EXPECT_EQ(loaded(), -1);
}

TEST_F(RunFolderTest, TensorsThatAreNotFiniteAreNeverSaved) {
  make({10});
  const auto run = RunFolder::create(config);
  for (const double bad :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()}) {
    RunState state = state_at(20);
    state.tensors.push_back({"parameter.up_blocks.lora_up", torch::ones({3, 4})});
    state.tensors[1].tensor[1][2] = bad;
    const std::string text = error_of([&] { run->save(state); });
    EXPECT_TRUE(has(text, "parameter.up_blocks.lora_up") && has(text, "1 values") && has(text, "learning rate") && has(text, "step 20"))
        << text;
  }
  RunState opposite = state_at(20);  // their sum would be NaN and hide nothing
  opposite.tensors.push_back({"optimizer.m", torch::tensor({INFINITY, -INFINITY})});
  error_of([&] { run->save(opposite); });
  EXPECT_EQ(names_in(backups), (std::set<std::string>{"step-000010.safetensors"}));
  RunState large = state_at(30);  // its sum is not finite, it is
  large.tensors.push_back({"optimizer.v", torch::full({8}, 3e38f)});
  EXPECT_NO_THROW(run->save(large));
}

TEST_F(RunFolderTest, ADiskThatFillsUpDuringASaveCostsNoEarlierBackup) {
  make({10, 20});
  const auto run = RunFolder::create(config);
  // As the disk is full, so are files that may not grow any more: the write stops in the middle.
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{50000, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string text = error_of([&] { run->save(state_at(30, 100000)); }, ErrorKind::io);
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_TRUE(has(text, "step-000030.safetensors") && has(text, "backup of step 30")) << text;
  EXPECT_EQ(names_in(backups), (std::set<std::string>{"step-000010.safetensors", "step-000020.safetensors"}));
  run->save(state_at(30));
  EXPECT_EQ(run->load(warnings)->step, 30);
}

TEST_F(RunFolderTest, AFullFileSystemIsCalledSo) {
  fs::create_directories(folder);
  if (::mount("none", folder.c_str(), "tmpfs", 0, "size=256k") != 0) GTEST_SKIP() << "a small file system cannot be mounted here";
  {
    const auto run = RunFolder::create(config);
    run->save(state_at(10));
    run->save(state_at(20));
    const std::string text = error_of([&] { run->save(state_at(30, 100000)); }, ErrorKind::io);
    EXPECT_TRUE(has(text, "disk is full")) << text;
    EXPECT_EQ(names_in(backups), (std::set<std::string>{"step-000010.safetensors", "step-000020.safetensors"}));
    EXPECT_EQ(run->load(warnings)->step, 20);
  }
  EXPECT_EQ(::umount(folder.c_str()), 0);
}

TEST_F(RunFolderTest, ARunThatHasNotBegunStandsInNobodysWay) {
  RunFolder::create(config);
  config.rank = 16;
  EXPECT_NO_THROW(RunFolder::create(config));
  EXPECT_EQ(read_train_config(std::filesystem::path(config.run_dir) / "run.toml").rank, 16);
}

TEST_F(RunFolderTest, AFolderWithARunOfOtherSettingsNamesThem) {
  make({10});
  EXPECT_NO_THROW(RunFolder::create(config));  // the same: the run is gone on with
  config.rank = 16;
  config.learning_rate = 5e-5;
  config.alpha = 4;
  const std::string text = error_of([&] { RunFolder::create(config); });
  for (const char* part : {"rank 8 -> 16", "learning_rate 0.0001 -> 5e-05", "alpha null -> 4.0", "--resume"})
    EXPECT_TRUE(has(text, part)) << part << ": " << text;
  EXPECT_FALSE(has(text, "optimizer")) << text;
  fs::remove(folder / "run.toml");
  EXPECT_TRUE(has(error_of([&] { RunFolder::create(config); }), "no run.toml"));
  EXPECT_EQ(names_in(backups), (std::set<std::string>{"step-000010.safetensors"}));
}

TEST_F(RunFolderTest, ResumingTakesTheSettingsOfTheFolderAndNamesWhatHasChanged) {
  make({10});
  EXPECT_EQ(loaded(), 10);
  EXPECT_TRUE(warnings.empty());
  const fs::path moved = root / "moved";
  fs::rename(folder, moved);
  {
    const auto run = RunFolder::resume(moved);
    EXPECT_EQ(run->config().run_dir, moved.string());
    EXPECT_EQ(run->load(warnings)->step, 10);
    EXPECT_TRUE(warnings.empty());
  }
  config.steps = 500;
  config.trigger = "sks";
  std::ofstream(moved / "run.toml") << to_toml(config);
  EXPECT_EQ(RunFolder::resume(moved)->load(warnings)->step, 10);
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_TRUE(has(warnings[0], "steps 0 -> 500") && has(warnings[0], "trigger \"\" -> \"sks\"")) << warnings[0];
  EXPECT_FALSE(has(warnings[0], "run_dir")) << warnings[0];
}

TEST_F(RunFolderTest, AFolderWithoutARunCannotBeResumed) {
  EXPECT_TRUE(has(error_of([&] { RunFolder::resume(root / "nothing"); }, ErrorKind::not_found), "run.toml"));
  EXPECT_FALSE(fs::exists(root / "nothing"));
  make({});
  std::ofstream(folder / "run.toml") << "rank = 8\nrnak = 1\n";
  EXPECT_TRUE(has(error_of([&] { RunFolder::resume(folder); }), "line 2"));
  std::ofstream(root / "file").close();
  config.run_dir = (root / "file" / "run").string();
  EXPECT_TRUE(has(error_of([&] { RunFolder::create(config); }, ErrorKind::io), config.run_dir));
}

TEST_F(RunFolderTest, TheLogGoesToTheTableAndToTensorBoardAndCanBeRewound) {
  LogRow row;
  row.loss = 0.25;
  {
    const auto run = RunFolder::create(config);
    EXPECT_EQ(names_in(folder),
              (std::set<std::string>{"backups", "cache", "lock", "run.toml", "samples"}));  // nothing before the first step
    for (row.step = 1; row.step <= 3; ++row.step) run->log(row);
    run->draw_curve();
    EXPECT_TRUE(fs::exists(folder / "loss.png"));
  }
  const auto run = RunFolder::resume(folder);
  run->rewind_log(2);
  row.step = 3;
  row.validation = 0.5;
  run->log(row);
  const auto rows = read_log(folder / "log.csv");
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[2], row);
  std::vector<std::string> events;
  for (const std::string& name : names_in(folder))
    if (name.starts_with("events.out.tfevents.")) events.push_back(text_of(folder / name));
  ASSERT_EQ(events.size(), 2u);
  EXPECT_TRUE(has(events[0], "loss/train") && !has(events[0], "loss/validation"));
  EXPECT_TRUE(has(events[1], "loss/train") && has(events[1], "loss/validation"));
}

}  // namespace run_folder_test

// The queue by itself, and as a program that is killed finds it again.
#include "server/jobs.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include <fstream>
#include <sstream>

#include "base/error.h"
#include "base/scratch.h"
#include "scene.h"

extern char** environ;

namespace lorikeet {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

struct Scratch {
  testing::ScratchFolder folder;
  fs::path file() const { return folder / "jobs.sqlite"; }
};

Job job_of(const std::string& title, int64_t priority = 0, const std::string& batch_key = "") {
  Job job{.kind = "generate", .title = title};
  job.priority = priority;
  job.batch_key = batch_key;
  return job;
}

TEST(JobQueue, HigherPrioritiesComeFirstThenOlderOnes) {
  const Scratch scratch;
  JobQueue queue(scratch.file());
  queue.submit(job_of("first"));
  const auto second = queue.submit(job_of("second"));
  queue.submit(job_of("urgent", 5));
  EXPECT_EQ(queue.position(second.id), 2);
  EXPECT_EQ(queue.take(1).at(0).title, "urgent");
  EXPECT_EQ(queue.take(1).at(0).title, "first");
  EXPECT_EQ(queue.take(1).at(0).title, "second");
}

TEST(JobQueue, JobsOfOneKeyAreTakenTogetherUpToTheMost) {
  const Scratch scratch;
  JobQueue queue(scratch.file());
  for (const char* title : {"a", "b", "c", "d"}) queue.submit(job_of(title, 0, std::string(title) == "b" ? "other" : "same"));
  const auto taken = queue.take(2);
  ASSERT_EQ(taken.size(), 2u);
  EXPECT_EQ(taken[0].title, "a");
  EXPECT_EQ(taken[1].title, "c");
  EXPECT_EQ(queue.take(8).size(), 1u);  // b alone
}

TEST(JobQueue, ARestartLosesNothingAndWhatRanWaitsAgain) {
  const Scratch scratch;
  {
    JobQueue queue(scratch.file());
    queue.submit(job_of("ran"));
    queue.submit(job_of("waited"));
    queue.submit(job_of("paused", -1));
    ASSERT_EQ(queue.take(1).at(0).title, "ran");
    queue.save(1, {{"parts_done", 3}}, {"a warning"});
    queue.pause(3);
  }  // as after kill -9: nobody said goodbye
  JobQueue again(scratch.file());
  EXPECT_EQ(again.counts().waiting, 2);
  EXPECT_EQ(again.counts().paused, 1);
  const Job ran = again.take(1).at(0);
  EXPECT_EQ(ran.title, "ran");
  EXPECT_EQ(ran.result.at("parts_done"), 3);
  EXPECT_EQ(ran.warnings, std::vector<std::string>{"a warning"});
}

TEST(JobQueue, AJobWhoseClientIsGoneIsCancelledUnlessItsPicturesAreKept) {
  const Scratch scratch;
  {
    JobQueue queue(scratch.file());
    for (const bool saves : {false, true}) {
      Job job = job_of(saves ? "kept" : "not kept");
      job.saves = saves;
      job.delivery = std::make_shared<Delivery>();
      queue.submit(job);
    }
  }
  JobQueue again(scratch.file());
  EXPECT_EQ(again.get(1).state, JobState::cancelled);
  EXPECT_EQ(again.get(2).state, JobState::waiting);
}

TEST(JobQueue, WhatHasNotEndedCannotBeForgotten) {
  const Scratch scratch;
  JobQueue queue(scratch.file());
  const auto job = queue.submit(job_of("one"));
  EXPECT_THROW(queue.forget(job.id), Error);
  EXPECT_TRUE(queue.cancel(job.id));
  EXPECT_FALSE(queue.cancel(job.id));
  queue.forget(job.id);
  EXPECT_THROW(queue.get(job.id), Error);
}

TEST(JobQueue, AThousandJobsWaitAndComeInOrder) {
  const Scratch scratch;
  JobQueue queue(scratch.file());
  for (int i = 0; i < 1000; ++i) queue.submit(job_of(std::to_string(i)));
  EXPECT_EQ(queue.counts().waiting, 1000);
  for (int i = 0; i < 1000; ++i) {
    const auto taken = queue.take(1);
    ASSERT_EQ(taken.at(0).title, std::to_string(i));
    queue.end(taken[0].id, JobState::done);
  }
}

TEST(JobQueue, ADamagedFileIsPutAsideAndTheQueueBeginsAnew) {
  const Scratch scratch;
  std::ofstream(scratch.file()) << std::string(10000, 'x');
  JobQueue queue(scratch.file());
  EXPECT_EQ(queue.submit(job_of("one")).id, 1);
  EXPECT_TRUE(fs::exists(scratch.file().string() + ".damaged"));
}

// --- the program ---

class Program {
 public:
  explicit Program(const testing::Folders& folders) : log_(folders.root() / "address") {
    fs::remove(log_);
    const std::vector<std::string> words{LORIKEET_PROGRAM, "serve",
                                         "--port",         "0",
                                         "--models",       folders.models().string(),
                                         "--outputs",      (folders.root() / "outputs").string(),
                                         "--data",         (folders.root() / "data").string(),
                                         "--device",       "cpu",
                                         "--precision",    "f32",
                                         "--threads",      "1"};
    std::vector<char*> arguments;
    for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, log_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (posix_spawn(&pid_, LORIKEET_PROGRAM, &actions, nullptr, arguments.data(), environ) != 0)
      throw std::runtime_error("cannot start the program");
    posix_spawn_file_actions_destroy(&actions);
    testing::eventually([&] {
      std::ifstream stream(log_);
      std::string line;
      if (!std::getline(stream, line) || stream.eof()) return false;
      port = std::stoi(line.substr(line.rfind(':') + 1));
      return true;
    });
  }
  ~Program() { end(SIGKILL); }
  int end(int signal) {
    if (pid_ == 0) return 0;
    int status = 0;
    ::kill(pid_, signal);
    ::waitpid(pid_, &status, 0);
    pid_ = 0;
    return status;
  }
  int port = 0;

 private:
  fs::path log_;
  pid_t pid_ = 0;
};

int64_t add(int port, const std::string& prompt, int n_iter) {
  json request = testing::small_request(prompt);
  request["n_iter"] = n_iter;
  return testing::post(port, "/api/v1/jobs", {{"kind", "generate"}, {"request", request}}).json().at("id");
}

TEST(KilledServer, ItsJobsGoOnAndFinishedPicturesStay) {
  const testing::Folders folders;
  int64_t running = 0, waiting = 0;
  json before;
  {
    Program program(folders);
    ASSERT_GT(program.port, 0);
    running = add(program.port, "a house", 16);
    waiting = add(program.port, "a tree", 1);
    ASSERT_TRUE(testing::eventually([&] {
      before = testing::get(program.port, "/api/v1/jobs/" + std::to_string(running)).json();
      return before["result"].contains("pictures") && before["result"]["pictures"].size() >= 2;
    }));
    program.end(SIGKILL);
  }
  Program again(folders);
  ASSERT_GT(again.port, 0);
  json after;
  ASSERT_TRUE(testing::eventually([&] {
    after = testing::get(again.port, "/api/v1/jobs/" + std::to_string(waiting)).json();
    return after.at("state") == "done";
  })) << after.dump();
  const json first = testing::get(again.port, "/api/v1/jobs/" + std::to_string(running)).json();
  EXPECT_EQ(first.at("state"), "done");
  const json& pictures = first.at("result").at("pictures");
  ASSERT_EQ(pictures.size(), 16u);
  for (size_t i = 0; i < pictures.size(); ++i) {
    EXPECT_EQ(pictures[i].at("seed"), 7 + static_cast<int64_t>(i));
    EXPECT_TRUE(fs::exists(folders.root() / "outputs" / pictures[i].at("id").get<std::string>()));
  }
  for (size_t i = 0; i < before["result"]["pictures"].size(); ++i)
    EXPECT_EQ(before["result"]["pictures"][i], pictures[i]);  // what was told is kept
}

// No thread but the one that waits for it may take the signal: also none that libtorch started before.
TEST(InterruptedServer, EndsInOrderBeforeItsFirstJob) {
  const testing::Folders folders;
  Program program(folders);
  ASSERT_GT(program.port, 0);
  const int status = program.end(SIGINT);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(InterruptedServer, EndsInOrderAndTheRunningJobWaitsForTheNext) {
  const testing::Folders folders;
  int64_t id = 0;
  {
    Program program(folders);
    ASSERT_GT(program.port, 0);
    id = add(program.port, "a house", 40);
    ASSERT_TRUE(testing::eventually(
        [&] { return testing::get(program.port, "/api/v1/jobs/" + std::to_string(id)).json().at("state") == "running"; }));
    const int status = program.end(SIGINT);
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0);
  }
  JobQueue queue(folders.root() / "data" / "jobs.sqlite");
  EXPECT_EQ(queue.get(id).state, JobState::waiting);
}

TEST(SecondServer, IsToldThatThePortIsTaken) {
  const testing::Folders folders, others;
  testing::Running first(folders.options());
  ServerOptions options = others.options();
  options.port = first.port();
  try {
    HttpServer second(std::move(options));
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("is in use"), std::string::npos) << error.message();
  }
}

TEST(SecondServer, IsToldThatTheDataFolderIsTaken) {
  const testing::Folders folders;
  testing::Running first(folders.options());
  try {
    HttpServer second(folders.options());
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("another server uses the data folder"), std::string::npos) << error.message();
  }
}

}  // namespace
}  // namespace lorikeet

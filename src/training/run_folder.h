// A run's folder: the lock, a complete copy of the settings, rolling backups from which a run goes on exactly, logs, curves, samples.
//   run.toml  lock  backups/step-000100.safetensors  log.csv  loss.png  events.out.tfevents.…  samples/  cache/  <out>.safetensors
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lora/adapter.h"
#include "training/config.h"
#include "training/run_log.h"

namespace lorikeet {

// Everything that the next step depends on.
struct RunState {
  int64_t step = 0;                  // finished optimiser steps
  std::vector<NamedTensor> tensors;  // parameters, optimiser state, EMA: "parameter.…", "optimizer.…", "ema.…"; any dtype, names once
  std::map<std::string, std::string> values;  // small facts, UTF-8: best validation loss and its step, …
};

class RunFolder {
 public:
  // Creates the folder config.run_dir (with samples/, cache/ and backups/) or opens the run with these very settings that it holds, and
  // locks it. config: as checked() gives it. Error{bad_input}: another run holds it (its process and machine are named); it holds a run
  // that has begun, with other settings (each is named). Error{io}: it cannot be made or locked.
  static std::unique_ptr<RunFolder> create(const TrainConfig& config);
  // The run in a folder, with the settings of its run.toml; the folder may have been moved. Error{not_found}: there is none. Other errors
  // as above and as read_train_config().
  static std::unique_ptr<RunFolder> resume(const std::filesystem::path& folder);
  ~RunFolder();  // the lock goes, also when the program is killed

  const std::filesystem::path& path() const;
  const TrainConfig& config() const;

  // Atomic; older ones beyond config.keep_backups, and those behind state.step (of a course that was given up), go only after the new one
  // is safely on disk. Error{bad_input}: a tensor is not finite (it is named); Error{io}: disk full, …; then all earlier backups are as
  // they were.
  void save(const RunState& state);
  // The newest backup that reads well and is finite; nothing when there is none. Warnings: damaged ones that were passed over, settings
  // that are not what they were when it was made. The tensors are copies.
  std::optional<RunState> load(std::vector<std::string>& warnings) const;

  // Rows behind `step` of an earlier, killed run are cut off first; TensorBoard forgets them too.
  void rewind_log(int64_t step);
  void log(const LogRow& row);  // CSV and TensorBoard events; survives kill -9. Error{io}
  void draw_curve() const;      // loss.png: smoothed loss, validation losses, learning rate. Nothing in an engine-only build

 private:
  struct State;
  explicit RunFolder(std::unique_ptr<State> state);
  static std::unique_ptr<RunFolder> open(const std::filesystem::path& folder);
  std::unique_ptr<State> state_;
};

// The same as RunFolder::load() of a run that another process has open.
std::optional<RunState> read_newest_backup(const std::filesystem::path& folder, std::vector<std::string>& warnings);

}  // namespace lorikeet

#include "training/run_folder.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <ranges>

#include "base/error.h"
#include "base/text.h"
#include "io/append_file.h"
#include "io/atomic_file.h"
#include "io/fields_json.h"
#include "io/tensor_file.h"
#include "training/event_file.h"
#include "training/loss_curve.h"
#include "training/run_lock.h"

namespace fs = std::filesystem;

namespace lorikeet {

namespace {
using nlohmann::json;

// Keys of a backup's metadata.
constexpr std::string_view kStep = "lorikeet.step", kSettings = "lorikeet.settings", kValue = "value.";

std::string backup_name(int64_t step) {
  const std::string digits = std::to_string(step);
  return "step-" + std::string(6 - std::min<size_t>(6, digits.size()), '0') + digits + ".safetensors";
}

std::optional<int64_t> step_of_backup(const fs::path& path) {
  const std::string name = path.filename().string();
  if (!starts_with(name, "step-") || !ends_with(name, ".safetensors")) return std::nullopt;
  return parse_int(std::string_view(name).substr(5, name.size() - 5 - std::string_view(".safetensors").size()));
}

// step -> file, newest first.
using Backups = std::map<int64_t, fs::path, std::greater<>>;

Backups backups_in(const fs::path& folder) {
  Backups backups;
  std::error_code code;
  for (const auto& entry : fs::directory_iterator(folder, code))
    if (const auto step = step_of_backup(entry.path())) backups[*step] = entry.path();
  return backups;
}

// What a process that was killed while writing left behind (io/atomic_file.h); nobody else writes while we hold the lock.
void remove_temporaries(const fs::path& folder) {
  std::error_code code;
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(folder, code)) {
    const std::string name = entry.path().filename().string();
    if (starts_with(name, ".") && ends_with(name, ".tmp")) paths.push_back(entry.path());
  }
  for (const fs::path& path : paths) fs::remove(path, code);
}

void make_folder(const fs::path& folder) {
  std::error_code code;
  fs::create_directories(folder, code);
  if (code)
    throw Error(ErrorKind::io, "cannot make the folder " + folder.string() + ": " + code.message(), "choose another one with --run-dir");
}

void check_finite(const NamedTensor& named) {
  if (!named.tensor.is_floating_point() || named.tensor.numel() == 0) return;
  torch::NoGradGuard no_grad;
  // A sum is not finite if a value is not; a sum that overflows is looked at more closely.
  if (std::isfinite(named.tensor.sum(torch::kFloat).item<double>())) return;
  const int64_t bad = named.tensor.numel() - torch::isfinite(named.tensor).sum().item<int64_t>();
  if (bad > 0)
    throw Error(ErrorKind::bad_input, "the tensor " + named.name + " has " + std::to_string(bad) + " values that are not finite",
                "the training has come apart: lower the learning rate, or clip gradients harder with --max-grad-norm");
}

// The settings that differ, but for the folder, which may be moved: "rank 8 -> 16, steps 100 -> 200".
std::string changes_of(const TrainConfig& before, TrainConfig after) {
  after.run_dir = before.run_dir;
  std::vector<std::string> changes;
  const json one = write_fields(before), other = write_fields(after);
  for (const std::string& name : differing_fields(before, after))
    changes.push_back(name + " " + one[name].dump() + " -> " + other[name].dump());
  return join(changes, ", ");
}

RunState read_backup(const fs::path& path) {
  const auto file = TensorFile::open(path);
  const auto step = file->metadata().find(std::string(kStep));
  const auto number = step == file->metadata().end() ? std::nullopt : parse_int(step->second);
  if (!number || number != step_of_backup(path)) throw Error(ErrorKind::bad_input, path.string() + " is no backup of that step");
  RunState state{.step = *number, .tensors = {}, .values = {}};
  for (const auto& [key, value] : file->metadata())
    if (starts_with(key, kValue)) state.values[key.substr(kValue.size())] = value;
  for (const auto& [name, entry] : file->tensors()) {
    state.tensors.push_back({name, entry.view().clone()});
    check_finite(state.tensors.back());
  }
  return state;
}

// What has changed since a backup was made; "" nothing, or the backup does not say.
std::string changes_since(const TensorFile& backup, const TrainConfig& config) {
  const auto text = backup.metadata().find(std::string(kSettings));
  const json object = text == backup.metadata().end() ? json() : json::parse(text->second, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return "";
  TrainConfig before;
  try {
    read_fields(before, object);
  } catch (const Error& error) {  // from another version of the program
    return error.message();
  }
  return changes_of(before, config);
}
}  // namespace

struct RunFolder::State {
  fs::path path;
  std::unique_ptr<RunLock> lock;
  TrainConfig config;
  std::unique_ptr<AppendFile> csv;
  std::unique_ptr<EventFile> events;
  int64_t logged_from = 0;  // the first step that this process logs

  fs::path csv_path() const { return path / "log.csv"; }
};

RunFolder::RunFolder(std::unique_ptr<State> state) : state_(std::move(state)) {}
RunFolder::~RunFolder() = default;

const fs::path& RunFolder::path() const { return state_->path; }
const TrainConfig& RunFolder::config() const { return state_->config; }

std::unique_ptr<RunFolder> RunFolder::open(const fs::path& folder) {
  auto state = std::make_unique<State>();
  state->path = folder;
  state->lock = std::make_unique<RunLock>(folder / "lock");
  for (const char* part : {"backups", "samples", "cache"}) make_folder(folder / part);
  for (const fs::path& part : {folder, folder / "backups", folder / "samples"}) remove_temporaries(part);
  return std::unique_ptr<RunFolder>(new RunFolder(std::move(state)));
}

std::unique_ptr<RunFolder> RunFolder::create(const TrainConfig& config) {
  const fs::path folder = config.run_dir;
  make_folder(folder);
  auto run = open(folder);
  run->state_->config = config;
  const fs::path settings = folder / "run.toml";
  if (!fs::exists(settings)) {
    if (const Backups left = backups_in(folder / "backups"); !left.empty())
      throw Error(ErrorKind::bad_input, folder.string() + " holds backups of a run, but no run.toml with its settings",
                  "put that file back, or choose another folder with --run-dir");
    write_file_atomically(settings, to_toml(config));
    return run;
  }
  // A run that came to nothing (no pictures, no checkpoint) stands in nobody's way.
  const bool has_begun = fs::exists(run->state_->csv_path()) || !backups_in(folder / "backups").empty();
  if (!has_begun) {
    write_file_atomically(settings, to_toml(config));
    return run;
  }
  const std::string changes = changes_of(read_train_config(settings), config);
  if (!changes.empty())
    throw Error(
        ErrorKind::bad_input, folder.string() + " holds a run with other settings: " + changes,
        "go on with that run by --resume " + folder.string() + ", or choose another name with --out, or another folder with --run-dir");
  return run;
}

std::unique_ptr<RunFolder> RunFolder::resume(const fs::path& folder) {
  const fs::path settings = folder / "run.toml";
  std::error_code code;
  if (!fs::exists(settings, code))
    throw Error(ErrorKind::not_found, "there is no run in " + folder.string() + ": it has no run.toml",
                "runs are kept below runs/, by their names");
  auto run = open(folder);
  run->state_->config = read_train_config(settings);
  run->state_->config.run_dir = folder.string();
  return run;
}

void RunFolder::save(const RunState& state) {
  const fs::path folder = state_->path / "backups";
  with_context("while saving the backup of step " + std::to_string(state.step), [&] {
    std::map<std::string, Tensor> tensors;
    for (const NamedTensor& named : state.tensors) {
      check_finite(named);
      if (!tensors.emplace(named.name, named.tensor).second) throw Error(ErrorKind::internal, "two tensors are named " + named.name);
    }
    std::map<std::string, std::string> metadata{{std::string(kStep), std::to_string(state.step)},
                                                {std::string(kSettings), write_fields(state_->config).dump()}};
    for (const auto& [key, value] : state.values) metadata[std::string(kValue) + key] = value;
    write_safetensors(folder / backup_name(state.step), tensors, metadata);
  });
  int kept = 0;
  std::error_code code;
  for (const auto& [step, path] : backups_in(folder))
    if (step > state.step || ++kept > state_->config.keep_backups) fs::remove(path, code);
}

std::optional<RunState> RunFolder::load(std::vector<std::string>& warnings) const {
  auto state = read_newest_backup(state_->path, warnings);
  if (!state) return state;
  const auto backup = TensorFile::open(state_->path / "backups" / backup_name(state->step));
  if (const std::string changes = changes_since(*backup, state_->config); !changes.empty())
    warnings.push_back("settings have changed since the backup of step " + std::to_string(state->step) + ": " + changes);
  return state;
}

std::optional<RunState> read_newest_backup(const fs::path& folder, std::vector<std::string>& warnings) {
  for (const auto& [step, path] : backups_in(folder / "backups")) {
    try {
      return read_backup(path);
    } catch (const Error& error) {
      warnings.push_back("the backup of step " + std::to_string(step) + " is damaged and passed over: " + error.message());
    }
  }
  return std::nullopt;
}

void RunFolder::rewind_log(int64_t step) {
  state_->csv.reset();
  state_->events.reset();
  state_->logged_from = step + 1;
  cut_log(state_->csv_path(), step);
}

void RunFolder::log(const LogRow& row) {
  State& state = *state_;
  if (!state.csv) state.csv = std::make_unique<AppendFile>(state.csv_path());
  state.csv->append((state.csv->empty() ? log_header() : "") + log_line(row));
  if (!state.events) state.events = std::make_unique<EventFile>(state.path, std::max(state.logged_from, int64_t{0}));
  std::vector<Scalar> scalars{{"loss/train", row.loss},
                              {"learning_rate", row.learning_rate},
                              {"gradient_norm", row.gradient_norm},
                              {"epoch", row.epoch},
                              {"seconds_per_step", row.seconds}};
  if (row.train_validation) scalars.push_back({"loss/validation_of_trained", *row.train_validation});
  if (row.validation) scalars.push_back({"loss/validation", *row.validation});
  state.events->add(row.step, scalars);
}

void RunFolder::draw_curve() const {
  if (!can_draw_loss_curve()) return;
  draw_loss_curve(state_->path / "loss.png", read_log(state_->csv_path()), state_->config.out);
}

}  // namespace lorikeet

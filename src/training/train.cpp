#include "training/train.h"

#include <ATen/Parallel.h>
#include <chrono>
#include <cmath>
#include <fstream>

#include "base/error.h"
#include "base/text.h"
#include "io/hash.h"
#include "training/autoencoder.h"
#include "training/batches.h"
#include "training/class_pictures.h"
#include "training/ema.h"
#include "training/lora_metadata.h"
#include "training/lr_schedule.h"
#include "training/objective.h"
#include "training/optimizer.h"
#include "training/process_group.h"
#include "training/random.h"
#include "training/samples.h"
#include "training/trainable.h"

namespace lorikeet {

namespace fs = std::filesystem;

namespace {

// How long a process waits for the others: rank 0 may encode a large data set meanwhile. One that dies is noticed at once.
constexpr std::chrono::hours kPatience{2};

double now() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

// Everything that a run holds; the functions below are its stages in their order.
struct Run {
  TrainConfig config;
  const TrainHooks& hooks;
  Progress& progress;

  std::shared_ptr<ProcessGroup> processes = {};
  std::unique_ptr<RunFolder> folder = {};  // of rank 0
  std::shared_ptr<Networks> networks = {};
  std::unique_ptr<Trainable> trainable = {};
  std::unique_ptr<Objective> objective = {};
  std::unique_ptr<BatchPlan> plan = {};
  std::vector<ParameterGroup> groups = {};
  std::unique_ptr<Optimizer> optimizer = {};
  std::unique_ptr<Ema> ema = {};
  const LrSchedule* lr_schedule = nullptr;
  LrPlan lr_plan = {};

  int64_t step = 0, steps = 0;
  double started_at = now();
  double epoch_loss = 0;  // of this process's life: sum over the current epoch, and its steps
  int64_t epoch_steps = 0;
  std::optional<double> best_validation = {};
  std::optional<int64_t> best_step = {};
  TrainResult result = {};

  bool leads() const { return processes->rank() == 0; }
  uint64_t seed() const { return static_cast<uint64_t>(config.seed); }
  fs::path folder_path() const { return config.run_dir; }
};

// The weights to look at instead of those that are trained on, while it lives: averages, and no dropout.
class Evaluation {
 public:
  explicit Evaluation(Run& run) : run_(run) {
    run_.trainable->begin_forward({0, /*training=*/false});
    run_.optimizer->begin_evaluation();
    if (run_.ema) run_.ema->swap();
  }
  ~Evaluation() {
    if (run_.ema) run_.ema->swap();
    run_.optimizer->end_evaluation();
  }
  Evaluation(const Evaluation&) = delete;

 private:
  Run& run_;
  torch::NoGradGuard no_grad_;
};

// --- before the first step ---

void load_model(Run& run) {
  run.progress.stage("loading the checkpoint", 0);
  if (run.config.threads > 0) torch::set_num_threads(run.config.threads);
  run.networks = load_networks(run.config.model, run.config.vae, plan_compute(run.config.device, run.config.precision));
  for (int* side : {&run.config.width, &run.config.height}) *side = static_cast<int>(run.networks->spec.side_px(*side));
  run.networks->unet->recompute = run.config.gradient_checkpointing;
  run.trainable = make_trainable(*run.networks, run.config);
}

// Rank 0 goes first and fills the caches on disk; the others find them there.
template <class Work>
void in_turn(Run& run, Work work) {
  if (run.leads()) work();
  run.processes->barrier();
  if (!run.leads()) work();
}

void load_data(Run& run) {
  in_turn(run, [&] {
    if (run.leads()) make_class_pictures(run.config, run.networks, run.hooks, run.progress);
    Dataset dataset = takes_pictures(run.config.method) ? read_dataset(run.config, run.progress) : Dataset{};
    run.objective = make_objective(*run.networks, *run.trainable, std::move(dataset), run.config, {run.folder_path() / "cache"}, run.progress);
  });
  run.result.warnings = run.objective->dataset().warnings;
  run.plan = std::make_unique<BatchPlan>(run.objective->dataset(), run.config, run.config.batch_size * run.processes->size());
}

void make_optimizer(Run& run) {
  const TrainConfig& c = run.config;
  run.groups = run.trainable->groups();
  const OptimizerKind& kind = find_optimizer(c.optimizer);
  run.optimizer = kind.make(run.groups, {.beta1 = c.beta1, .beta2 = c.beta2, .warmup_steps = c.warmup_steps});
  if (c.ema_decay > 0) run.ema = std::make_unique<Ema>(run.groups, c.ema_decay);
  const int64_t batches = run.plan->batches_per_epoch() * c.epochs;
  run.steps = c.steps > 0 ? c.steps : std::max<int64_t>(1, (batches + c.accumulation - 1) / c.accumulation);
  run.lr_schedule = &find_lr_schedule(kind.own_schedule ? "constant" : c.lr_schedule);
  run.lr_plan = {.steps = static_cast<int>(run.steps),
                 .warmup_steps = kind.own_schedule ? 0 : c.warmup_steps,
                 .cycles = c.lr_cycles,
                 .power = c.lr_power};
}

// --- state ---

RunState state_of(const Run& run) {
  RunState state;
  state.step = run.step;
  for (const ParameterGroup& group : run.groups)
    for (const auto& [name, tensor] : group.parameters) state.tensors.push_back({"parameter." + name, tensor.detach()});
  for (const auto& [name, tensor] : run.optimizer->state()) state.tensors.push_back({"optimizer." + name, tensor});
  if (run.ema)
    for (const auto& [name, tensor] : run.ema->state()) state.tensors.push_back({"ema." + name, tensor});
  if (run.best_step) {
    state.values["best_step"] = std::to_string(*run.best_step);
    state.values["best_validation"] = format_number(*run.best_validation);
  }
  state.values["started_at"] = format_number(run.started_at);
  state.values["draws"] = std::to_string(kDraws);
  return state;
}

std::vector<NamedTensor> part_of(const RunState& state, const std::string& prefix) {
  std::vector<NamedTensor> part;
  for (const auto& [name, tensor] : state.tensors)
    if (starts_with(name, prefix)) part.push_back({name.substr(prefix.size()), tensor});
  return part;
}

void restore(Run& run, const RunState& state) {
  torch::NoGradGuard no_grad;
  std::map<std::string, Tensor> parameters;
  for (auto& [name, tensor] : part_of(state, "parameter.")) parameters[name] = tensor;
  for (const ParameterGroup& group : run.groups) {
    for (const auto& [name, tensor] : group.parameters) {
      const auto found = parameters.find(name);
      if (found == parameters.end() || found->second.sizes() != tensor.sizes()) {
        throw Error(ErrorKind::bad_input, "the backup does not fit this run: " + name + (found == parameters.end() ? " is missing" : " has another shape"),
                    "the checkpoint or the settings were changed; start a new run");
      }
      Tensor(tensor).copy_(found->second);
    }
  }
  run.optimizer->load_state(part_of(state, "optimizer."));
  if (run.ema) run.ema->load_state(part_of(state, "ema."));
  run.step = state.step;
  if (const auto draws = state.values.find("draws"); draws == state.values.end() || draws->second != std::to_string(kDraws))
    run.result.warnings.push_back("the backup of step " + std::to_string(state.step) +
                                  " was made by another build, which draws other noise: the run goes on well, but not to the same bits");
  if (const auto best = state.values.find("best_step"); best != state.values.end()) {
    run.best_step = parse_int(best->second);
    run.best_validation = parse_double(state.values.at("best_validation"));
  }
  run.started_at = parse_double(state.values.at("started_at")).value_or(run.started_at);
}

void back_up(Run& run) {
  if (run.leads()) run.folder->save(state_of(run));
}

// --- one step ---

double lr_factor_of(const Run& run) { return lr_factor(*run.lr_schedule, static_cast<int>(run.step), run.lr_plan); }

// The gradients of the mean loss over the global batches of this step, in every process alike. -> that loss
double forward_backward(Run& run) {
  std::vector<Tensor> to_sum;
  for (const ParameterGroup& group : run.groups)
    for (const auto& [name, tensor] : group.parameters) Tensor(tensor).mutable_grad() = Tensor{};
  Tensor loss = torch::zeros({1});
  const double share = 1.0 / (run.config.accumulation * run.processes->size());
  for (int i = 0; i < run.config.accumulation; ++i) {
    const int64_t index = run.step * run.config.accumulation + i;
    const auto rows = run.plan->batch(index);
    const auto own = rows_of_process(rows, run.processes->rank(), run.processes->size());
    run.trainable->begin_forward({random_bits(run.seed(), "dropout", static_cast<uint64_t>(index), static_cast<uint64_t>(run.processes->rank()))});
    const Tensor part = run.objective->loss(own) * share;
    part.backward();
    loss += part.detach().to(torch::kCPU, torch::kFloat);
  }
  if (run.processes->size() > 1) {
    for (const ParameterGroup& group : run.groups)
      for (const auto& [name, tensor] : group.parameters) {
        if (!tensor.grad().defined()) Tensor(tensor).mutable_grad() = torch::zeros_like(tensor);
        to_sum.push_back(tensor.grad());
      }
    to_sum.push_back(loss);
    run.processes->sum(to_sum);
  }
  return loss.item<double>();
}

// The name of the first parameter whose gradient is not finite.
std::string broken_gradient(const Run& run) {
  for (const ParameterGroup& group : run.groups)
    for (const auto& [name, tensor] : group.parameters)
      if (tensor.grad().defined() && !torch::isfinite(tensor.grad()).all().item<bool>()) return name;
  return {};
}

[[noreturn]] void stop_at_nan(Run& run) {
  const auto rows = run.plan->batch(run.step * run.config.accumulation);
  std::string where = run.objective->first_broken_layer(rows_of_process(rows, run.processes->rank(), run.processes->size()));
  if (where.empty()) where = "the gradient of " + broken_gradient(run);
  std::vector<std::string> warnings;
  std::string back = "nothing was saved before";
  if (run.leads()) {
    if (const auto state = run.folder->load(warnings)) {
      run.folder->rewind_log(state->step);
      back = "the run is back at its backup of step " + std::to_string(state->step);
    }
  }
  throw Error(ErrorKind::bad_input,
              "at step " + std::to_string(run.step + 1) + " the loss is no longer a finite number; it begins in " + where + "; " + back,
              "set a smaller --learning-rate" + std::string(run.config.precision == "f32" ? "" : ", or --precision f32") +
                  ", or --max-grad-norm 1, and start a new run");
}

LogRow train_step(Run& run) {
  const double began = now();
  const double loss = forward_backward(run);
  const double norm = clip_gradients(run.groups, run.config.max_grad_norm);
  if (!std::isfinite(loss) || !std::isfinite(norm)) stop_at_nan(run);
  const double factor = lr_factor_of(run);
  run.optimizer->step(factor);
  if (run.ema) run.ema->update();
  run.step += 1;
  run.epoch_loss += loss;
  run.epoch_steps += 1;
  LogRow row;
  row.step = run.step;
  row.epoch = static_cast<double>(run.step * run.config.accumulation) / static_cast<double>(run.plan->batches_per_epoch());
  row.loss = loss;
  row.learning_rate = run.optimizer->effective_learning_rate(factor);
  row.gradient_norm = norm;
  row.seconds = now() - began;
  return row;
}

// --- between steps ---

RunFacts facts_of(const Run& run) {
  RunFacts facts;
  add_dataset(facts, run.objective->dataset());
  facts.base_name = fs::path(run.config.model).filename().string();
  facts.vae_name = fs::path(run.config.vae).filename().string();
  if (fs::is_regular_file(run.config.model)) {
    facts.base_legacy_hash = legacy_model_hash(run.config.model);
    facts.base_sha256 = cached_sha256_file(run.config.model);
  }
  facts.batches_per_epoch = run.plan->batches_per_epoch();
  facts.epochs = (run.steps * run.config.accumulation + facts.batches_per_epoch - 1) / facts.batches_per_epoch;
  facts.epoch = (run.step * run.config.accumulation + facts.batches_per_epoch - 1) / facts.batches_per_epoch;
  facts.steps = run.step;
  facts.all_steps = run.steps;
  facts.processes = run.processes->size();
  facts.started_at = run.started_at;
  facts.finished_at = now();
  facts.precision = run.networks->unet->compute().dtype == torch::kFloat ? "f32" : run.networks->unet->compute().dtype == torch::kBFloat16 ? "bf16" : "f16";
  facts.loss = run.epoch_steps ? run.epoch_loss / static_cast<double>(run.epoch_steps) : 0;
  facts.best_step = run.best_step;
  return facts;
}

// Call it in an Evaluation.
void save_file(const Run& run, const fs::path& path) {
  run.trainable->save(path, training_metadata(run.config, run.networks->spec, facts_of(run)));
}

fs::path file_named(const Run& run, const std::string& stem) { return run.folder_path() / (stem + ".safetensors"); }

bool is_due(const Run& run, int every) { return every > 0 && (run.step % every == 0 || run.step == run.steps); }

void validate(Run& run, LogRow& row) {
  if (!is_due(run, run.config.validate_every)) return;
  const Evaluation evaluation(run);
  const Dataset& dataset = run.objective->dataset();
  const auto first = [&](const std::vector<TrainPicture>& pictures) {
    return std::span(pictures).first(std::min(pictures.size(), static_cast<size_t>(run.config.validation_pictures)));
  };
  row.train_validation = run.objective->fixed_loss(first(dataset.pictures));
  if (!dataset.validation.empty()) row.validation = run.objective->fixed_loss(first(dataset.validation));
  const double measured = row.validation.value_or(*row.train_validation);
  if (run.best_validation && measured >= *run.best_validation) return;
  run.best_validation = measured;
  run.best_step = run.step;
  save_file(run, file_named(run, run.config.out + "-best"));
}

void look_after(Run& run, LogRow row) {
  if (run.leads()) {
    validate(run, row);
    run.folder->log(row);
    if (run.hooks.logged) run.hooks.logged(row, run.steps);
    if (is_due(run, run.config.sample_every)) {
      const Evaluation evaluation(run);
      make_samples(run.config, run.networks, *run.trainable, run.step, run.hooks);
    }
    if (run.config.save_every > 0 && run.step % run.config.save_every == 0 && run.step != run.steps) {
      const Evaluation evaluation(run);
      char stem[32];
      std::snprintf(stem, sizeof stem, "-%06lld", static_cast<long long>(run.step));
      save_file(run, file_named(run, run.config.out + stem));
    }
  }
  if (run.config.backup_every > 0 && run.step % run.config.backup_every == 0) {
    back_up(run);
    if (run.leads()) run.folder->draw_curve();
  }
  if ((run.step * run.config.accumulation) % run.plan->batches_per_epoch() < run.config.accumulation && run.step != run.steps) {
    run.epoch_loss = 0;
    run.epoch_steps = 0;
  }
}

// A new autoencoder's latents are brought to the scale that the model's family has.
void standardise(Run& run) {
  const auto moments = run.objective->latent_moments();
  if (!moments) return;
  std::map<std::string, Tensor> weights;
  for (const ParameterGroup& group : run.groups)
    for (const auto& [name, tensor] : group.parameters)
      if (name.find("quant_conv.") != std::string::npos) weights[name] = tensor;
  const auto before = weights;
  standardise_latents(weights, *moments, run.networks->spec.latent.scale);
  for (const auto& [name, tensor] : before) Tensor(tensor).copy_(weights.at(name));
}

TrainResult finish(Run& run) {
  if (run.leads()) {
    run.progress.stage("saving", 0);
    run.result.file = file_named(run, run.config.out);
    {
      const Evaluation evaluation(run);
      standardise(run);
      save_file(run, run.result.file);
    }
    back_up(run);
    run.folder->draw_curve();
  }
  run.processes->barrier();
  run.result.folder = run.folder_path();
  run.result.steps = run.step;
  run.result.loss = run.epoch_steps ? run.epoch_loss / static_cast<double>(run.epoch_steps) : 0;
  run.result.best_step = run.best_step;
  return run.result;
}

// The whole of it: prepare, go on from the newest backup, step by step, write the file.
TrainResult carry_out(Run& run) {
  load_model(run);
  load_data(run);
  make_optimizer(run);
  run.trainable->attach();
  if (const auto state = run.folder ? run.folder->load(run.result.warnings) : read_newest_backup(run.folder_path(), run.result.warnings)) {
    restore(run, *state);
    if (run.leads()) run.folder->rewind_log(run.step);
  }
  run.progress.stage("training", static_cast<int>(run.steps));
  run.progress.step(static_cast<int>(run.step));
  while (run.step < run.steps) {
    look_after(run, train_step(run));
    run.progress.step(static_cast<int>(run.step));
    if (run.progress.cancelled()) {
      back_up(run);
      run.progress.check();
    }
  }
  return finish(run);
}

TrainResult start(TrainConfig config, std::unique_ptr<RunFolder> folder, std::shared_ptr<ProcessGroup> processes, const TrainHooks& hooks, Progress& progress) {
  Run run{.config = std::move(config), .hooks = hooks, .progress = progress};
  run.processes = std::move(processes);
  run.folder = std::move(folder);
  return carry_out(run);
}

}  // namespace

TrainResult train(const TrainConfig& asked, const TrainHooks& hooks, Progress& progress) {
  const TrainConfig config = checked(asked);
  if (takes_pictures(config.method)) check_there_are_pictures(config.images);
  auto processes = join_process_group(plan_compute(config.device, config.precision).unet.device, kPatience);
  std::unique_ptr<RunFolder> folder;
  if (processes->rank() == 0) folder = RunFolder::create(config);
  processes->barrier();
  return start(config, std::move(folder), std::move(processes), hooks, progress);
}

TrainResult resume_training(const fs::path& path, const TrainHooks& hooks, Progress& progress) {
  const TrainConfig config = read_train_config(path / "run.toml");
  auto processes = join_process_group(plan_compute(config.device, config.precision).unet.device, kPatience);
  std::unique_ptr<RunFolder> folder;
  if (processes->rank() == 0) folder = RunFolder::resume(path);
  processes->barrier();
  TrainConfig moved = config;
  moved.run_dir = path.string();
  return start(moved, std::move(folder), std::move(processes), hooks, progress);
}

}  // namespace lorikeet

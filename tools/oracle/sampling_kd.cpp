// Whole runs of k-diffusion's samplers as A1111 drives them: golden/kd_<model>_<kind>_<sampler>_<schedule>.safetensors.
#include "guided.h"
#include "sampling/prediction.h"
#include "sampling/run_plan.h"

namespace lorikeet::oracle {

namespace fs = std::filesystem;

namespace {


// k-diffusion's get_sigmas() is what A1111 calls automatic, and "uniform" in its list.
const Schedule& schedule_of(const TensorFile& file) {
  const std::string name = metadata_text(file, "schedule");
  return find_schedule(name == "normal" ? "uniform" : name);
}

struct StepCounter : Progress {
  int done = 0;
  void step(int count) override { done = count; }
};

class KdRun {
 public:
  KdRun(Check& check, GuidedNetwork network)
      : check_(check),
        network_(std::move(network)),
        file_(network_.file()),
        prediction_(find_prediction(network_.model().spec.prediction)) {
    if (network_.model().spec.zero_terminal_snr) noise_ = zero_terminal_snr(noise_);
    sampler_ = find_sampler(metadata_text(file_, "sampler"));
    sampler_.discards_penultimate_sigma = metadata_text(file_, "discard_next_to_last_sigma") == "True";
  }

  void run(const std::string& name) {
    const bool from_picture = metadata_text(file_, "mode") != "txt2img";
    const int steps = static_cast<int>(metadata_number(file_, "steps", 10));
    const RunPlan plan = from_picture
                             ? plan_img2img(sampler_, schedule_of(file_), steps, metadata_number(file_, "strength", 1), range_of(noise_))
                             : plan_run(sampler_, schedule_of(file_), steps, range_of(noise_));
    check_.result(name + " sigmas", relative_error_by_element(plan.sigmas, file_.read("sigmas")), kSigmaBar);
    StoredNoise noise(file_, check_.device());
    const Denoise denoise = [&](const Tensor& x, double sigma) { return this->denoise(x, sigma); };
    const Tensor x = start(sampler_, plan, network_.read("init_noise"), from_picture ? network_.read("init_latent") : Tensor());
    compare("start", x);
    const Tensor end = sampler_.sample({denoise, plan.sigmas, noise, progress_, sampler_.default_eta}, x);
    compare("final", finish(sampler_, plan, end));
    for (const auto& [key, entry] : file_.tensors()) {
      if (key.starts_with("x.") && !compared_.contains(key)) return check_.fail(name, "the run never reached " + key);
    }
    check_.result(name, worst_, kRunBar);
  }

 private:
  void compare(const std::string& key, const Tensor& found) {
    if (!file_.contains(key) || !compared_.insert(key).second) return;
    worst_ = std::max(worst_, relative_error(found, file_.read(key)));
  }

  Denoised denoise(const Tensor& x, double sigma) {
    compare("x." + std::to_string(progress_.done), x);  // of several calls in a step the first counts
    const Tensor sigmas = torch::full({1}, sigma, x.options());
    const auto outputs = network_(x * prediction_.input_scale(sigmas), noise_.timestep(static_cast<float>(sigma)));
    const GuidedNetwork::Outputs x0s{prediction_.to_x0(x, outputs.uncond, sigmas), prediction_.to_x0(x, outputs.cond, sigmas)};
    Tensor x0 = network_.guide(x0s);
    if (file_.contains("mask")) {
      const Tensor mask = network_.read("mask");
      x0 = x0 * mask + network_.read("init_latent") * (1 - mask);
    }
    compare("denoised_0", x0);
    return {x0, x0s.uncond};
  }

  Check& check_;
  GuidedNetwork network_;
  const TensorFile& file_;
  const Prediction& prediction_;
  NoiseSchedule noise_ = scaled_linear_schedule();
  Sampler sampler_{};
  StepCounter progress_;
  std::set<std::string> compared_;
  double worst_ = 0;
};

void check_kd_run(Check& check, const fs::path& path, const std::string& name) {
  const auto model = model_named(check, match(path, R"(kd_([^_]+)_.*)"));
  if (!model) return check.skip(name, "its model is not in the folder");
  const auto file = TensorFile::open(path);
  KdRun(check, {model, file, metadata_number(*file, "cfg", 7), check.device()}).run(name);
}

}  // namespace

void check_sampling_kd(Check& check) {
  for (const auto& path : check.files(R"(golden/kd_.*\.safetensors)")) {
    const std::string name = path.stem().string();
    check.run(name, [&] { check_kd_run(check, path, name); });
  }
}

}  // namespace lorikeet::oracle

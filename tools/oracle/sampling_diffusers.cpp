// Whole runs of Hugging Face diffusers: golden/traj_<model>_<kind>_<scheduler>.safetensors.
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "guided.h"
#include "sampling/diffusers_timesteps.h"
#include "sampling/prediction.h"

namespace lorikeet::oracle {

namespace fs = std::filesystem;

namespace {

constexpr double kTimestepBar = 1e-5;  // of 1000

// What of diffusers is no run of our samplers between levels of noise: settings that they lack, and where a scheduler goes its own way.
void refuse_other_ways(const TensorFile& file, const nlohmann::json& config, const std::string& prediction) {
  const std::string scheduler = metadata_text(file, "scheduler_class");
  const auto refuse = [&](const std::string& why) { throw Error(ErrorKind::unsupported, scheduler + ": " + why); };
  const int steps = static_cast<int>(metadata_number(file, "steps", 10));
  const bool from_picture = metadata_number(file, "strength", 1) < 1;
  const std::map<std::string, nlohmann::json> kOnly = {
      {"solver_order", 2},   {"use_lu_lambdas", false}, {"interpolation_type", "linear"}, {"rescale_betas_zero_snr", false},
      {"thresholding", false}, {"clip_sample", false},  {"solver_type", scheduler == "UniPCMultistepScheduler" ? "bh2" : "midpoint"}};
  for (const auto& [name, value] : kOnly)
    if (config.contains(name) && config[name] != value) refuse(name + " " + config[name].dump());
  if (scheduler == "DDPMScheduler" && config.value("variance_type", "fixed_small") != "fixed_small") refuse("another variance than fixed_small");
  if (scheduler == "PNDMScheduler" && prediction == "v") refuse("it takes means of v; here, as in A1111, each v becomes noise first");
  if (scheduler == "PNDMScheduler" && from_picture) refuse("from a picture on it counts the first step's two calls as two steps");
  if (scheduler == "LMSDiscreteScheduler" && from_picture)
    refuse("from a picture on it begins with the coefficients of the fourth order, of which it has one derivative");
  if (config.value("final_sigmas_type", "") == "sigma_min" && config.value("lower_order_final", true) && steps < 15)
    refuse("its last step is of first order though it does not end at 0");
  if (scheduler == "DDIMScheduler" || scheduler == "DDPMScheduler") {
    const Tensor timesteps = file.read("timesteps").to(torch::kDouble);
    for (int64_t i = 1; i < timesteps.numel(); ++i)
      if ((timesteps[i - 1] - timesteps[i]).item<double>() != 1000 / steps) refuse("its steps end at other timesteps than the next ones begin at");
  }
}

DiffusersConfig config_of(const TensorFile& file, const std::string& prediction) {
  // Python's json writes infinities, which JSON lacks.
  const std::string text = replace_all(replace_all(metadata_text(file, "config", "{}"), "-Infinity", "null"), "Infinity", "null");
  const auto json = nlohmann::json::parse(text);
  refuse_other_ways(file, json, prediction);
  DiffusersConfig config;
  config.scheduler_class = metadata_text(file, "scheduler_class");
  config.timestep_spacing = json.value("timestep_spacing", config.timestep_spacing);
  config.steps_offset = json.value("steps_offset", config.steps_offset);
  config.use_karras_sigmas = json.value("use_karras_sigmas", config.use_karras_sigmas);
  config.set_alpha_to_one = json.value("set_alpha_to_one", config.set_alpha_to_one);
  config.algorithm_type = json.value("algorithm_type", config.algorithm_type);
  config.final_sigmas_type = json.value("final_sigmas_type", config.final_sigmas_type);
  config.original_inference_steps = json.value("original_inference_steps", config.original_inference_steps);
  return config;
}

// The reference lists more timesteps than steps where a step has several calls: t0, mid, t1, mid, … or t0, t1, t1, t2, …
Tensor one_a_step(const Tensor& timesteps, int64_t steps) {
  if (timesteps.numel() == 2 * steps - 1) return timesteps.slice(0, 0, timesteps.numel(), 2);
  if (timesteps.numel() == steps + 1) return torch::cat({timesteps.slice(0, 0, 1), timesteps.slice(0, 2)});
  return timesteps;
}

class DiffusersCheck {
 public:
  DiffusersCheck(Check& check, GuidedNetwork network)
      : check_(check),
        network_(std::move(network)),
        file_(network_.file()),
        prediction_(find_prediction(network_.model().spec.prediction)),
        run_(plan_diffusers(config_of(file_, network_.model().spec.prediction), static_cast<int>(metadata_number(file_, "steps", 10)), noise_,
                            metadata_number(file_, "strength", 1))) {}

  void run(const std::string& name) {
    const Tensor timesteps = one_a_step(file_.read("timesteps"), static_cast<int64_t>(run_.timesteps.size()));
    check_.result(name + " timesteps", relative_error(torch::tensor(run_.timesteps, torch::kDouble), timesteps), kTimestepBar);
    const Tensor unit = network_.read("init_noise");
    const double first = run_.sigmas.front();
    const Tensor x = file_.contains("init_latent") ? network_.read("init_latent") + unit * first : unit * run_.start_scale;
    compare("start", x, first);
    const Tensor end = file_.contains("mask") ? repainted(x, unit) : sampled(x);
    for (const auto& [key, entry] : file_.tensors()) {
      if (key.starts_with("latents.") && !compared_.contains(key)) return check_.fail(name, "the run never reached " + key);
    }
    check_.result(name, worst_, kRunBar);
    check_pictures(name, end);
  }

 private:
  // key: of what `x` (ours) at `sigma` should be.
  void compare(const std::string& key, const Tensor& x, double sigma) {
    if (!file_.contains(key)) return;
    compared_.insert(key);
    worst_ = std::max(worst_, relative_error(x * run_.latent_scale(sigma), file_.read(key)));
  }

  Tensor x0_at(const Tensor& x, double sigma) {
    const Tensor sigmas = torch::full({1}, sigma, x.options());
    const Tensor guided = network_.guide(network_(x * prediction_.input_scale(sigmas), run_.timestep(sigma, noise_)));
    if (calls_ == 0 && file_.contains("model_output_0")) worst_ = std::max(worst_, relative_error(guided, file_.read("model_output_0")));
    ++calls_;
    return prediction_.to_x0(x, guided, sigmas);
  }

  // A scheduler's step ends where the network is called next. -> the latent at the end (diffusers' scale)
  Tensor sampled(const Tensor& start) {
    StoredNoise noise(file_, check_.device());
    Progress progress;
    const Denoise denoise = [&](const Tensor& x, double sigma) {
      if (calls_ > 0) compare("latents." + std::to_string(calls_ - 1), x, sigma);
      const Tensor x0 = x0_at(x, sigma);
      return Denoised{x0, x0};
    };
    const Tensor end = run_.sampler->sample({denoise, run_.sigmas, noise, progress, run_.eta}, start);
    compare("latents." + std::to_string(calls_ - 1), end, run_.sigmas.back());
    return end * run_.latent_scale(run_.sigmas.back());
  }

  // diffusers' inpainting by any model: after each step what is kept comes from the picture, noised to the next level. It changes
  // the latent between steps, which only samplers without a memory allow.
  Tensor repainted(Tensor x, const Tensor& unit) {
    static const std::set<std::string_view> kWithMemory = {"lms", "plms", "dpmpp_2m", "dpmpp_2m_sde", "unipc", "unipc_bh2"};
    if (kWithMemory.contains(run_.sampler->name))
      throw Error(ErrorKind::unsupported, "inpainting with a multistep sampler cannot be checked");
    StoredNoise noise(file_, check_.device());
    Progress progress;
    const Denoise denoise = [&](const Tensor& at, double sigma) {
      const Tensor x0 = x0_at(at, sigma);
      return Denoised{x0, x0};
    };
    const Tensor mask = network_.read("mask"), init = network_.read("init_latent");
    for (size_t i = 0; i + 1 < run_.sigmas.size(); ++i) {
      const double next = run_.sigmas[i + 1];
      x = run_.sampler->sample({denoise, std::span(run_.sigmas).subspan(i, 2), noise, progress, run_.eta}, x);
      const bool last = i + 2 == run_.sigmas.size();
      const Tensor kept = last ? init / run_.latent_scale(next) : init + unit * next;
      x = mask * x + (1 - mask) * kept;
      compare("latents." + std::to_string(calls_ - 1), x, next);
    }
    return x * run_.latent_scale(run_.sigmas.back());
  }

  void check_pictures(const std::string& name, const Tensor& latent) {
    const Model& model = network_.model();
    if (file_.contains("image")) {
      check_.result(name + " image", relative_error(model.vae->decode(latent / model.spec.latent.scale), file_.read("image")), kRunBar);
    }
    if (file_.contains("init_image")) {
      const Tensor mean = model.vae->encode(network_.read("init_image")).mean;
      check_.result(name + " init image", relative_error(mean * model.spec.latent.scale, file_.read("init_latent")), kNetworkBar);
    }
  }

  Check& check_;
  GuidedNetwork network_;
  const TensorFile& file_;
  const Prediction& prediction_;
  NoiseSchedule noise_ = scaled_linear_schedule();
  DiffusersRun run_;
  int calls_ = 0;
  std::set<std::string> compared_;
  double worst_ = 0;
};

void check_diffusers_run(Check& check, const fs::path& path, const std::string& name) {
  const auto model = model_named(check, match(path, R"(traj_([^_]+)_.*)"));
  if (!model) return check.skip(name, "its model is not in the folder");
  const auto file = TensorFile::open(path);
  try {
    DiffusersCheck(check, {model, file, metadata_number(*file, "cfg", 7), check.device()}).run(name);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::unsupported) throw;
    check.skip(name, error.what());
  }
}

}  // namespace

void check_sampling_diffusers(Check& check) {
  for (const auto& path : check.files(R"(golden/traj_.*\.safetensors)")) {
    const std::string name = path.stem().string();
    check.run(name, [&] { check_diffusers_run(check, path, name); });
  }
}

}  // namespace lorikeet::oracle

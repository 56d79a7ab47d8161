// Noise schedules and timesteps: golden/sigmas.safetensors, from k-diffusion and diffusers.
#include <cmath>
#include <regex>

#include "base/text.h"
#include "check.h"
#include "sampling/diffusers_timesteps.h"
#include "sampling/schedules.h"

namespace lorikeet::oracle {

namespace {

// The reference computes in float32: 6e-8 a rounding, enlarged by exp and pow.

std::vector<double> widened(const std::vector<float>& values) { return {values.begin(), values.end()}; }

// "karras.20", "karras_old_0.1_10.20": the schedule's name, for the old one its ends, and the number of steps.
double schedule_error(const std::string& key, const Tensor& expected, const NoiseSchedule& noise) {
  const size_t dot = key.rfind('.');
  std::string name = key.substr(0, dot);
  ScheduleRange range = range_of(noise);
  std::smatch ends;
  if (std::regex_match(name, ends, std::regex(R"((\w+?)_old_([\d.]+)_([\d.]+))"))) {
    range.sigma_min = std::stod(ends[2]), range.sigma_max = std::stod(ends[3]);
    name = ends[1];
  }
  return relative_error_by_element(find_schedule(name).sigmas(std::stoi(key.substr(dot + 1)), range), expected);
}

// "diffusers_euler.leading.karras.20.sigmas"
double diffusers_error(const std::string& key, const Tensor& expected, const NoiseSchedule& noise) {
  static const std::map<std::string_view, std::string> kClasses = {{"diffusers_ddim", "DDIMScheduler"},
                                                                   {"diffusers_euler", "EulerDiscreteScheduler"},
                                                                   {"diffusers_dpmpp2m", "DPMSolverMultistepScheduler"},
                                                                   {"diffusers_lcm", "LCMScheduler"}};
  const auto words = split(key, '.');
  DiffusersConfig config;
  config.scheduler_class = kClasses.at(words[0]);
  int steps = 0;
  for (const auto word : words) {
    if (word == "leading" || word == "trailing" || word == "linspace") config.timestep_spacing = word;
    if (word == "karras") config.use_karras_sigmas = true;
    if (const auto number = parse_int(word)) steps = static_cast<int>(*number);
  }
  config.steps_offset = config.timestep_spacing == "leading" ? 1 : 0;
  const DiffusersRun run = plan_diffusers(config, steps, noise);
  if (words.back() == "sigmas") return relative_error_by_element(run.sigmas, expected);
  return relative_error(torch::tensor(run.timesteps, torch::kDouble), expected);
}

double timesteps_error(const TensorFile& file, const std::string& key, const NoiseSchedule& noise) {
  const Tensor sigmas = file.read("sigma_to_t.sigma").to(torch::kFloat).contiguous();
  std::vector<double> found;
  for (int64_t i = 0; i < sigmas.numel(); ++i) {
    const double t = noise.timestep(sigmas.data_ptr<float>()[i]);
    found.push_back(key == "sigma_to_t.t" ? t : std::nearbyint(t));  // quantised: the nearest in log sigma
  }
  return relative_error(torch::tensor(found, torch::kDouble), file.read(key));
}

double error_of(const TensorFile& file, const std::string& key) {
  const NoiseSchedule noise = scaled_linear_schedule();
  const Tensor expected = file.read(key);
  if (key == "train.alphas_cumprod") return relative_error_by_element(widened(noise.alphas_cumprod), expected);
  if (key == "train.sigmas") return relative_error_by_element(widened(noise.sigmas), expected);
  if (key == "train.log_sigmas") return relative_error_by_element(widened(noise.log_sigmas), expected);
  if (starts_with(key, "sigma_to_t.")) return timesteps_error(file, key, noise);
  if (starts_with(key, "diffusers_")) return diffusers_error(key, expected, noise);
  return schedule_error(key, expected, noise);
}

}  // namespace

void check_sigmas(Check& check) {
  for (const auto& path : check.files(R"(golden/sigmas.*\.safetensors)")) {
    const auto file = TensorFile::open(path);
    for (const auto& [key, entry] : file->tensors()) {
      if (key == "sigma_to_t.sigma") continue;  // the input of the others
      const std::string name = path.stem().string() + " " + key;
      check.run(name, [&, key = key] { check.result(name, error_of(*file, key), kSigmaBar); });
    }
  }
}

}  // namespace lorikeet::oracle

// The first step of the golden runs (golden/kd_*: k-diffusion as A1111 drives it; golden/traj_*: diffusers), from the stored output of
// the model. The whole runs need the model: tests of later folders make them.
#include <gtest/gtest.h>

#include "io/tensor_file.h"
#include "sampling/diffusers_timesteps.h"
#include "sampling/prediction.h"
#include "sampling/run_plan.h"

using namespace lorikeet;

namespace {

struct StoredNoise : Noise {
  std::shared_ptr<const TensorFile> file;
  int index = 0;
  explicit StoredNoise(std::shared_ptr<const TensorFile> f) : file(std::move(f)) {}
  Tensor next() override { return file->read("noise." + std::to_string(index++)); }
};

struct EndOfStep {};

// x when the sampler asks for the second estimate.
Tensor after_one_step(const Sampler& sampler, std::span<const double> sigmas, Noise& noise, double eta, const Tensor& x, const Tensor& x0) {
  Tensor reached;
  int calls = 0;
  Denoise denoise = [&](const Tensor& at, double) {
    if (++calls == 2) {
      reached = at;
      throw EndOfStep();
    }
    return Denoised{x0, x0};
  };
  Progress progress;
  try {
    sampler.sample({denoise, sigmas, noise, progress, eta}, x);
  } catch (EndOfStep) {
  }
  return reached;
}

double relative(const Tensor& found, const Tensor& wanted) { return ((found - wanted).abs().max() / wanted.abs().max()).item<double>(); }

std::shared_ptr<const TensorFile> open_golden(const std::string& name) {
  return TensorFile::open(LORIKEET_GOLDEN_DIR "/golden/" + name + ".safetensors");
}

// One step in float32 on both sides: a few roundings, enlarged by the subtraction x - x0.
constexpr double kTolerance = 5e-6;

}  // namespace

TEST(FirstStep, IsKDiffusions) {
  NoiseSchedule noise = scaled_linear_schedule();
  struct Case {
    const char *file, *sampler, *schedule;
  };
  for (Case c : {Case{"sd1_txt2img_euler_normal", "euler", "uniform"},
                 {"sd1_txt2img_euler_ancestral_normal", "euler_ancestral", "uniform"},
                 {"sd1_txt2img_lms_normal", "lms", "uniform"},
                 {"sd1_txt2img_dpmpp_2m_karras", "dpmpp_2m", "karras"},
                 {"sd1_txt2img_dpmpp_2m_sde_karras", "dpmpp_2m_sde", "karras"},
                 {"sd1_txt2img_dpmpp_3m_sde_exponential", "dpmpp_3m_sde", "exponential"},
                 {"sd1_img2img_dpmpp_2m_karras", "dpmpp_2m", "karras"},
                 {"sd2_txt2img_euler_normal", "euler", "uniform"}}) {
    auto file = open_golden(std::string("kd_") + c.file);
    const Sampler& sampler = find_sampler(c.sampler);
    bool img2img = file->contains("init_latent");
    RunPlan plan = img2img ? plan_img2img(sampler, find_schedule(c.schedule), 10, 0.6, range_of(noise))
                           : plan_run(sampler, find_schedule(c.schedule), 10, range_of(noise));
    Tensor sigmas = file->read("sigmas").to(torch::kDouble);
    ASSERT_EQ(static_cast<size_t>(sigmas.numel()), plan.sigmas.size()) << c.file;
    EXPECT_LT(relative(torch::tensor(plan.sigmas, torch::kDouble), sigmas), 2e-6) << c.file;

    Tensor x = start(sampler, plan, file->read("init_noise"), img2img ? file->read("init_latent") : Tensor());
    EXPECT_LT(relative(x, file->read("start")), 1e-6) << c.file;
    StoredNoise stored(file);
    Tensor reached = after_one_step(sampler, plan.sigmas, stored, 1, x, file->read("denoised_0"));
    EXPECT_LT(relative(reached, file->read("x.1")), kTolerance) << c.file;
  }
}

TEST(FirstStep, IsDiffusers) {
  NoiseSchedule noise = scaled_linear_schedule();
  struct Case {
    const char *file, *scheduler;
    bool karras = false;
    const char* spacing = "leading";
    int steps = 10;
    double strength = 1;
    bool sde = false;
  };
  for (Case c : {Case{"sd1_txt2img_euler", "EulerDiscreteScheduler"},
                 {"sd1_txt2img_euler_a", "EulerAncestralDiscreteScheduler"},
                 {"sd1_txt2img_euler_karras", "EulerDiscreteScheduler", true},
                 {"sd1_txt2img_euler_linspace", "EulerDiscreteScheduler", false, "linspace"},
                 {"sd1_txt2img_euler_trailing", "EulerDiscreteScheduler", false, "trailing"},
                 {"sd1_txt2img_lms", "LMSDiscreteScheduler"},
                 {"sd1_txt2img_ddim", "DDIMScheduler"},
                 {"sd1_txt2img_ddpm", "DDPMScheduler"},
                 {"sd1_txt2img_dpmpp_2m_karras", "DPMSolverMultistepScheduler", true},
                 {"sd1_txt2img_dpmpp_2m_sde_karras", "DPMSolverMultistepScheduler", true, "leading", 10, 1, true},
                 {"sd1_txt2img_unipc", "UniPCMultistepScheduler"},
                 {"sd1_txt2img_lcm", "LCMScheduler", false, "leading", 4},
                 {"sd1_img2img_ddim", "DDIMScheduler", false, "leading", 10, 0.6},
                 {"sd1_img2img_dpmpp_2m_karras", "DPMSolverMultistepScheduler", true, "leading", 10, 0.6},
                 {"sd1_img2img_euler", "EulerDiscreteScheduler", false, "leading", 10, 0.6},
                 {"sd2_txt2img_ddim", "DDIMScheduler"},
                 {"sd2_txt2img_dpmpp_2m_karras", "DPMSolverMultistepScheduler", true},
                 {"sd2_txt2img_euler", "EulerDiscreteScheduler"},
                 {"sd2_txt2img_unipc", "UniPCMultistepScheduler"}}) {
    auto file = open_golden(std::string("traj_") + c.file);
    DiffusersConfig config{c.scheduler, c.spacing, std::string_view(c.spacing) == "leading", c.karras};
    if (c.sde) config.algorithm_type = "sde-dpmsolver++";
    DiffusersRun run = plan_diffusers(config, c.steps, noise, c.strength);
    Tensor timesteps = file->read("timesteps").to(torch::kDouble);
    ASSERT_EQ(static_cast<size_t>(timesteps.numel()), run.timesteps.size()) << c.file;
    EXPECT_LT((torch::tensor(run.timesteps, torch::kDouble) - timesteps).abs().max().item<double>(), 1e-3) << c.file;

    double first = run.sigmas[0], second = run.sigmas[1];
    Tensor unit = file->read("init_noise");
    Tensor x = file->contains("init_latent") ? file->read("init_latent") + unit * first : unit * run.start_scale;
    EXPECT_LT(relative(x * run.latent_scale(first), file->read("start")), 2e-6) << c.file;
    const Prediction& prediction = find_prediction(std::string_view(c.file).starts_with("sd2") ? "v" : "epsilon");
    Tensor x0 = prediction.to_x0(x, file->read("model_output_0"), torch::tensor(first));
    StoredNoise stored(file);
    Tensor reached = after_one_step(*run.sampler, run.sigmas, stored, run.eta, x, x0);
    EXPECT_LT(relative(reached * run.latent_scale(second), file->read("latents.0")), kTolerance) << c.file;
  }
}

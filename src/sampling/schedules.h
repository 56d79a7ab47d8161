// The schedules: which sigmas a run of so many steps visits. One row each; the sampler decides what it does between two of them.
// A row of the list gives A1111 1.10's sigmas of that name (its modules/sd_schedulers.py), unless its comment says otherwise.
#pragma once
#include <span>
#include <string_view>
#include <vector>

#include "sampling/noise_schedule.h"

namespace lorikeet {

struct ScheduleRange {
  const NoiseSchedule& noise;         // the model's trained levels
  double sigma_min, sigma_max;        // the ends to span; the model's own unless a person sets them
  bool sdxl = false;                  // Align Your Steps has a table of its own for SDXL
  double rho = 0;                     // bend of Karras (7) and polyexponential (1); 0: that default
  double beta_a = 0.6, beta_b = 0.6;  // of the beta distribution (Lee et al. 2024, arXiv 2407.12173)
};
ScheduleRange range_of(const NoiseSchedule& noise, bool sdxl = false);

struct Schedule {
  std::string_view name;     // one word for flags and JSON: "sgm_uniform"
  std::string_view label;    // A1111's name: "SGM Uniform"
  std::string_view summary;  // one sentence for people
  double default_rho;        // -1: has none (A1111's API shows it)
  // steps >= 1. Falling sigmas, steps + 1 of them (ddim and ddim_timesteps: see there). null: "automatic", the sampler's own.
  std::vector<double> (*sigmas)(int steps, const ScheduleRange& range);
};

std::span<const Schedule> schedules();  // the one list; the first is "automatic"

// By name or label, any case. Error{bad_input} lists the near names.
const Schedule& find_schedule(std::string_view name);

// (a^(1/rho) + i/(n-1) (b^(1/rho) - a^(1/rho)))^rho from a = sigma_max to b = sigma_min, then 0
// (Karras et al. 2022, arXiv 2206.00364, eq. 5).
std::vector<double> karras_sigmas(int steps, double sigma_min, double sigma_max, double rho = 7);

}  // namespace lorikeet

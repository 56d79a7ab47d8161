// What a job can be: one row a kind, with what is checked when it comes and what is done when its turn comes.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "generate/request.h"
#include "server/jobs.h"
#include "server/worker.h"

namespace lorikeet {

struct LoraReport;

struct JobKind {
  std::string_view name, summary;
  // Throws Error for a request that cannot be, and fills in what the job needs: title, seeds, batch_key, names brought to one spelling.
  void (*check)(App& app, Job& job);
  void (*run)(JobRun& run);
  bool pauses = false;  // it can be paused and goes on where it was
};
std::span<const JobKind> job_kinds();
const JobKind& find_job_kind(std::string_view name);  // Error{bad_input} with the names

// Checks the job and puts it into the queue.
Job submit(App& app, Job job);

// The kinds' own functions, one file each.
void check_generate_job(App& app, Job& job);
void run_generate_jobs(JobRun& run);
void check_plot_job(App& app, Job& job);
void run_plot_job(JobRun& run);
void check_train_job(App& app, Job& job);
void run_train_job(JobRun& run);
void check_workshop_job(App& app, Job& job);
void run_workshop_job(JobRun& run);
void check_preview_job(App& app, Job& job);
void run_preview_job(JobRun& run);

// What the kinds that make pictures share.
// Takes "checkpoint" out of a request and gives the name of the library: the one that is asked for, else the chosen one.
std::string take_checkpoint(App& app, nlohmann::json& request);
// Pictures are decoded within limits, names looked up, sizes bounded. Error{bad_input}.
Request read_generate_request(App& app, const nlohmann::json& request);
int64_t drawn_seed(int64_t asked);  // a random one for -1
// Writes the picture into the outputs folder. -> {id, url, thumb_url, width, height, seed, infotext}
nlohmann::json keep_picture(App& app, const Picture& picture, const std::string& infotext, int64_t seed, PictureFormat format, int quality);
nlohmann::json picture_json(const std::string& id, int width_px, int height_px, int64_t seed, const std::string& infotext);
nlohmann::json loras_json(const std::vector<LoraReport>& loras);

}  // namespace lorikeet

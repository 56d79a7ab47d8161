#include "server/job_kinds.h"

#include <array>

#include "base/error.h"
#include "base/text.h"
#include "server/app.h"

namespace lorikeet {

namespace {
constexpr std::array kKinds{
    JobKind{"generate", "Pictures from a prompt, or from a prompt and a picture.", check_generate_job, run_generate_jobs},
    JobKind{"plot", "A labelled sheet of pictures in which one, two or three things change.", check_plot_job, run_plot_job},
    JobKind{"train", "A LoRA, an embedding or a checkpoint from a data set.", check_train_job, run_train_job, true},
    JobKind{"workshop", "LoRA files: bake, mix, extract, resize, convert, compare, info, check.", check_workshop_job, run_workshop_job},
    JobKind{"preview", "The preview picture of a LoRA: without it and with it, side by side.", check_preview_job, run_preview_job},
};
}  // namespace

std::span<const JobKind> job_kinds() { return kKinds; }

const JobKind& find_job_kind(std::string_view name) {
  std::vector<std::string> names;
  for (const JobKind& kind : kKinds) {
    if (kind.name == name) return kind;
    names.emplace_back(kind.name);
  }
  throw Error(ErrorKind::bad_input, "there is no kind of job \"" + valid_utf8(name) + "\"", "the kinds are " + join(names, ", "));
}

Job submit(App& app, Job job) {
  find_job_kind(job.kind).check(app, job);
  return app.jobs.submit(std::move(job));
}

}  // namespace lorikeet

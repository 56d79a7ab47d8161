#include "server/job_json.h"

#include <cmath>

namespace lorikeet {

namespace {
using nlohmann::json;
constexpr size_t kLongText = 4096;

json time_or_null(double seconds) { return seconds > 0 ? json(static_cast<int64_t>(seconds)) : json(); }

// Pictures within a request are told by their length.
json shortened(json value) {
  if (value.is_string() && value.get_ref<const std::string&>().size() > kLongText) {
    const auto& text = value.get_ref<const std::string&>();
    if (text.compare(0, 5, "data:") == 0) return text.substr(0, text.find(',') + 1) + "… (" + std::to_string(text.size()) + " letters)";
  }
  if (value.is_structured())
    for (auto& child : value) child = shortened(std::move(child));
  return value;
}
}  // namespace

json json_of_job(const Job& job, const std::optional<LiveJob>& live, int64_t position, bool brief) {
  json result = job.result;
  result.erase("parts_done");
  json value{{"id", job.id},
             {"kind", job.kind},
             {"title", job.title},
             {"state", name(job.state)},
             {"priority", job.priority},
             {"position", position},
             {"created", time_or_null(job.created)},
             {"started", time_or_null(job.started)},
             {"finished", time_or_null(job.finished)},
             {"progress", job.state == JobState::done ? 1.0 : 0.0},
             {"stage", ""},
             {"step", 0},
             {"steps", 0},
             {"eta_s", nullptr},
             {"preview", nullptr},
             {"warnings", job.warnings},
             {"error", job.error},
             {"result", std::move(result)}};
  if (live && job.state == JobState::running) {
    value["progress"] = std::round(live->progress * 1e4) / 1e4;
    value["stage"] = live->stage;
    value["step"] = live->step;
    value["steps"] = live->steps;
    if (live->eta_s) value["eta_s"] = std::round(*live->eta_s * 10) / 10;
    if (live->preview) value["preview"] = "/api/v1/jobs/" + std::to_string(job.id) + "/preview?v=" + std::to_string(live->preview_version);
  }
  if (!brief) value["request"] = shortened(job.request);
  return value;
}

}  // namespace lorikeet

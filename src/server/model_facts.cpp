#include "server/model_facts.h"

#include "base/error.h"
#include "base/text.h"
#include "generate/request.h"
#include "io/fields_json.h"
#include "prompt/chunks.h"
#include "prompt/embedding_file.h"
#include "prompt/extra_networks.h"
#include "sampling/run_plan.h"
#include "sampling/sampler.h"
#include "sampling/schedules.h"
#include "server/openapi.h"
#include "server/problem.h"
#include "training/config.h"

namespace lorikeet {

namespace {
using nlohmann::json;

template <class Row>
json rows_json(std::span<const Row> rows) {
  json list = json::array();
  for (const Row& row : rows) list.push_back({{"name", row.name}, {"label", row.label}, {"summary", row.summary}});
  return list;
}


[[noreturn]] void refuse(const std::string& message, const Error& unknown) { throw HttpError(400, "bad_input", message, unknown.hint()); }
}  // namespace

json generate_fields() { return fields_json<Request>(); }

json train_fields() {
  json list = json::array();
  for (const json& field : fields_json<TrainConfig>())
    if (!is_settled_by_server(field["name"].get<std::string>())) list.push_back(field);
  return list;
}

json sampler_list() { return rows_json(samplers()); }
json schedule_list() { return rows_json(schedules()); }

json sdapi_samplers() {
  json list = json::array();
  for (const Sampler& sampler : samplers()) {
    json aliases = json::array({sampler.name}), options = json::object();
    for (const std::string_view alias : split(sampler.aliases, ' '))
      if (!alias.empty()) aliases.push_back(alias);
    if (sampler.schedule != "uniform") options["scheduler"] = sampler.schedule;  // A1111's values are texts too
    if (sampler.second_order) options["second_order"] = "True";
    if (sampler.discards_penultimate_sigma) options["discard_next_to_last_sigma"] = "True";
    list.push_back({{"name", sampler.label}, {"aliases", aliases}, {"options", options}});
  }
  return list;
}

json sdapi_schedulers() {
  json list = json::array();
  for (const Schedule& schedule : schedules())
    list.push_back({{"name", schedule.name},
                    {"label", schedule.label},
                    {"aliases", nullptr},
                    {"default_rho", schedule.default_rho},
                    {"need_inner_model", false}});
  return list;
}

std::string sampler_label(std::string_view name) { return std::string(find_sampler(name).label); }

SamplerChoice choose_sampler(const std::string& name, const std::string& scheduler, const std::string& field) {
  SamplerChoice choice{.sampler = "", .schedule = "automatic"};
  try {
    choice.sampler = find_sampler(name).name;
  } catch (const Error& unknown) {
    try {
      const auto both = find_sampler_and_schedule(name);
      choice.sampler = both.sampler->name;
      if (both.schedule->name != both.sampler->schedule) choice.schedule = both.schedule->name;
    } catch (const Error&) {
      refuse("Sampler not found: " + field + " \"" + valid_utf8(name) + "\"", unknown);
    }
  }
  if (is_none(scheduler)) return choice;
  try {
    choice.schedule = find_schedule(scheduler).name;
  } catch (const Error& unknown) {
    refuse("Scheduler not found: \"" + valid_utf8(scheduler) + "\"", unknown);
  }
  return choice;
}

int64_t token_count(std::string_view prompt) { return chunk_prompt(take_extra_networks(prompt).text).token_count; }

EmbeddingFacts embedding_facts(const std::filesystem::path& file) {
  const auto read = read_embedding_file(file);
  if (read.empty() || read[0].vectors.empty()) return {};
  return {read[0].count(), read[0].vectors[0].size(1)};
}

}  // namespace lorikeet

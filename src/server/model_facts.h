// What handlers ask of the engine's lists and files, without the engine's types: samplers, schedules, settings, embeddings, tokens.
#pragma once
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace lorikeet {

nlohmann::json generate_fields();  // of /api/v1/schema
nlohmann::json train_fields();     // without those that the server settles itself
nlohmann::json sampler_list();     // [{name, label, summary}]
nlohmann::json schedule_list();
nlohmann::json sdapi_samplers();  // as A1111 lists them
nlohmann::json sdapi_schedulers();

std::string sampler_label(std::string_view name);  // "DPM++ 2M"

struct SamplerChoice {
  std::string sampler, schedule;  // our names; schedule "automatic" where none is asked for
};
// "DPM++ 2M Karras", "k_euler", any case; a schedule that the sampler takes anyway is "automatic" (A1111's rule). HttpError 400 names the
// field and the near names.
SamplerChoice choose_sampler(const std::string& name, const std::string& scheduler, const std::string& field);

int64_t token_count(std::string_view prompt);  // as A1111 counts; tags do not count

struct EmbeddingFacts {
  int64_t vectors = 0, width = 0;
};
EmbeddingFacts embedding_facts(const std::filesystem::path& file);  // Error as read_embedding_file

}  // namespace lorikeet

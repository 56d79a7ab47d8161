// The prompt language against A1111's own code: prompts/*.json; and its conditioning with a small model.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "check.h"
#include "prompt/attention.h"
#include "prompt/chunks.h"
#include "prompt/composition.h"
#include "prompt/conditioning.h"
#include "prompt/lora_tag.h"
#include "prompt/schedule.h"
#include "prompt/tokenizer.h"

namespace lorikeet::oracle {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

using Parts = std::vector<std::pair<std::string, double>>;

bool attention_agrees(const json& one) {
  if (one.contains("error")) {
    try {
      parse_attention(one.at("input").get<std::string>());
    } catch (const Error&) {
      return true;
    }
    return false;
  }
  Parts found;
  for (const auto& part : parse_attention(one.at("input").get<std::string>())) found.emplace_back(part.text, part.weight);
  return found == one.at("result").get<Parts>();
}

bool composition_agrees(const json& one) {
  Parts found;
  for (const auto& part : split_composition(one.at("input").get<std::string>())) found.emplace_back(part.text, part.weight);
  return found == one.at("subprompts").get<Parts>();
}

bool tokens_agree(const json& one) {
  std::vector<int64_t> ids = tokenize(one.at("input").get<std::string>());
  ids.insert(ids.begin(), kStartToken);
  ids.push_back(kEndToken);
  return ids == one.at("ids").get<std::vector<int64_t>>();
}

bool schedules_agree(const json& one) {
  static const std::pair<const char*, ScheduleSteps> kKinds[] = {{"steps_10", {.steps = 10}},
                                                                 {"steps_20", {.steps = 20}},
                                                                 {"steps_10_old", {.steps = 10, .old_rules = true}},
                                                                 {"steps_10_hires_8", {.steps = 10, .hires_steps = 8}}};
  for (const auto& [key, steps] : kKinds) {
    if (!one.contains(key)) continue;
    std::vector<std::pair<int, std::string>> found;
    for (const auto& entry : parse_schedule(one.at("input").get<std::string>(), steps)) found.emplace_back(entry.end_step, entry.text);
    if (found != one.at(key).get<std::vector<std::pair<int, std::string>>>()) return false;
  }
  return true;
}

bool same_chunks(const std::vector<PromptChunk>& found, const json& wanted) {
  if (found.size() != wanted.size()) return false;
  for (size_t i = 0; i < found.size(); ++i) {
    if (found[i].ids != wanted[i].at("tokens").get<std::vector<int64_t>>()) return false;
    if (found[i].multipliers != wanted[i].at("multipliers").get<std::vector<double>>()) return false;
  }
  return true;
}

bool chunks_agree(const json& one) {
  const auto input = one.at("input").get<std::string>();
  const auto prompt = chunk_prompt(input);
  if (prompt.token_count != one.at("token_count").get<int64_t>() || !same_chunks(prompt.chunks, one.at("chunks"))) return false;
  return !one.contains("chunks_no_comma_backtrack") || same_chunks(chunk_prompt(input, {}, 0).chunks, one.at("chunks_no_comma_backtrack"));
}

bool same_number(double found, const json& wanted) {
  if (!wanted.is_string()) return found == wanted.get<double>();
  if (wanted == "nan") return std::isnan(found);
  return found == (wanted == "inf" ? INFINITY : -INFINITY);
}

// The reference passes over arguments that it does not know; Lorikeet refuses them.
ExtraNetworkTag without_unknown(ExtraNetworkTag tag) {
  const auto known = lora_arguments();
  std::erase_if(tag.named, [&](const auto& argument) { return std::find(known.begin(), known.end(), argument.first) == known.end(); });
  return tag;
}

bool activation_agrees(const std::vector<ExtraNetworkTag>& tags, const json& one) {
  std::vector<LoraTag> loras;
  try {
    for (const auto& tag : tags) {
      if (tag.type == "lora") loras.push_back(parse_lora_tag(without_unknown(tag)));  // the reference ran without the extension that reads <lyco:>
    }
  } catch (const Error&) {
    return one.contains("lora_activation_error");
  }
  if (one.contains("lora_activation_error") || loras.size() != one.at("lora_activation").size()) return false;
  for (size_t i = 0; i < loras.size(); ++i) {
    const auto& wanted = one.at("lora_activation")[i];
    const bool same_dyn = wanted.at("dyn").is_null() ? !loras[i].dyn : loras[i].dyn == wanted.at("dyn").get<int64_t>();
    if (loras[i].name != wanted.at("name").get<std::string>() || !same_number(loras[i].te.first(), wanted.at("te")) ||
        !same_number(loras[i].unet.first(), wanted.at("unet")) || !same_dyn)
      return false;
  }
  return true;
}

bool extra_networks_agree(const json& one) {
  const auto prompt = take_extra_networks(one.at("input").get<std::string>());
  if (prompt.text != one.at("prompt").get<std::string>()) return false;
  std::vector<std::string> types;  // the reference lists the tags by type, in the order in which the types first appear
  for (const auto& tag : prompt.tags) {
    if (std::find(types.begin(), types.end(), tag.type) == types.end()) types.push_back(tag.type);
  }
  std::vector<ExtraNetworkTag> tags;
  for (const auto& type : types) {
    std::copy_if(prompt.tags.begin(), prompt.tags.end(), std::back_inserter(tags), [&](const auto& tag) { return tag.type == type; });
  }
  if (tags.size() != one.at("networks").size()) return false;
  for (size_t i = 0; i < tags.size(); ++i) {
    const auto& wanted = one.at("networks")[i];
    if (tags[i].type != wanted.at("type").get<std::string>() || wanted.at("items") != json(tags[i].items) ||
        wanted.at("positional") != json(tags[i].positional) || wanted.at("named") != json(tags[i].named))
      return false;
  }
  return activation_agrees(tags, one);
}

void check_cases(Check& check, const fs::path& path, bool (*agrees)(const json&)) {
  const auto cases = json::parse(read_text(path)).at("cases");
  Tally tally;
  for (const auto& one : cases) {
    if (one.contains("unstable")) continue;  // A1111's own answer varies from start to start
    const std::string input = one.at("input").dump(-1, ' ', true);
    try {
      tally.add(input, agrees(one));
    } catch (const std::exception& error) {
      tally.add(input, false, error.what());
    }
  }
  const size_t unstable = cases.size() - static_cast<size_t>(tally.compared());
  check.exact(path.filename().string() + (unstable ? " (" + std::to_string(unstable) + " unstable cases left aside)" : ""), tally, true);
}

// chunks_cond_<model>.safetensors: the conditioning of each prompt of the chunks.json beside it.
void check_conditioning(Check& check, const fs::path& path) {
  const auto model = model_named(check, match(path, R"(chunks_cond_([^_]+)\.safetensors)"));
  if (!model) return check.skip(path.stem().string(), "its model is not in the folder");
  const auto file = TensorFile::open(path);
  const auto cases = json::parse(read_text(path.parent_path() / "chunks.json")).at("cases");
  std::vector<const ClipTextModel*> encoders;
  for (const auto& text : model->text_encoders) encoders.push_back(text.get());
  const EmbeddingStore none;
  PromptEncoder plain(encoders, none, {.device = check.device()}), skipping(encoders, none, {.clip_skip = 2, .device = check.device()});
  for (const auto& [key, entry] : file->tensors()) {
    const size_t dot = key.rfind('.');
    PromptEncoder& encoder = starts_with(key, "cond_clipskip2") ? skipping : plain;
    const auto input = cases.at(std::stoul(key.substr(dot + 1))).at("input").get<std::string>();
    check.run(key, [&, key = key] {
      check.result("conditioning " + key, relative_error(encoder.encode(input).context, file->read(key)[0]), kNetworkBar);
    });
  }
}

}  // namespace

void check_prompts(Check& check) {
  const std::pair<const char*, bool (*)(const json&)> kinds[] = {
      {"extra_networks", extra_networks_agree},
      {"attention", attention_agrees},
      {"schedules", schedules_agree},
      {"and", composition_agrees},
      {"tokens", tokens_agree},
      {"chunks", chunks_agree},
  };
  for (const auto& [kind, agrees] : kinds) {
    for (const auto& path : check.files(std::string("prompts/") + kind + R"([^/]*\.json)")) {
      check.run(path.stem().string(), [&, agrees = agrees] { check_cases(check, path, agrees); });
    }
  }
  for (const auto& path : check.files(R"(prompts/chunks_cond_.*\.safetensors)")) {
    check.run(path.stem().string(), [&] { check_conditioning(check, path); });
  }
}

}  // namespace lorikeet::oracle

// lorikeet lora: the table of its verbs.
#include <CLI/CLI.hpp>
#include <array>

#include "base/error.h"
#include "base/text.h"
#include "cli/lora_verbs.h"

namespace lorikeet {

namespace {
// To add a verb: a define function and one line here.
constexpr std::array kVerbs{
    Command{"lora list", "List the LoRAs: family, kind, rank, trigger words.", define_lora_list},
    Command{"lora info", "Tell what LoRA files are, what they change and how much, where they come from.", define_lora_info},
    Command{"lora check", "The same against a checkpoint: what fits, how strong it is, the largest sensible multiplier.",
            define_lora_check},
    Command{"lora bake", "Make LoRAs part of a checkpoint.", define_lora_bake},
    Command{"lora mix", "Mix several LoRAs into one.", define_lora_mix},
    Command{"lora extract", "Make a LoRA of the difference of two checkpoints.", define_lora_extract},
    Command{"lora resize", "Reduce a LoRA's ranks with the least error.", define_lora_resize},
    Command{"lora convert", "Write a LoRA in another spelling, type or kind.", define_lora_convert},
    Command{"lora compare", "Tell how alike two LoRAs are, block by block.", define_lora_compare},
    Command{"lora edit", "Change a LoRA's metadata and trigger words.", define_lora_edit},
    Command{"lora slider", "Train a LoRA whose multiplier moves one trait, from prompts alone.", define_lora_slider},
};
}  // namespace

std::span<const Command> lora_verbs() { return kVerbs; }

RunCommand define_lora(CLI::App&) {
  return [](Output&) -> int {
    std::vector<std::string> names;
    for (const Command& verb : kVerbs) names.emplace_back(verb.name);
    throw Error(ErrorKind::bad_input, "what about the LoRAs?", "the verbs are " + join(names, ", "));
  };
}

}  // namespace lorikeet

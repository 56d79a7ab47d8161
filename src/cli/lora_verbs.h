// The verbs of "lorikeet lora", one file each or two that belong together (slider: train.cpp).
#pragma once
#include <span>

#include "cli/command.h"

namespace lorikeet {

std::span<const Command> lora_verbs();

RunCommand define_lora_list(CLI::App& app);
RunCommand define_lora_info(CLI::App& app);
RunCommand define_lora_check(CLI::App& app);
RunCommand define_lora_bake(CLI::App& app);
RunCommand define_lora_mix(CLI::App& app);
RunCommand define_lora_extract(CLI::App& app);
RunCommand define_lora_resize(CLI::App& app);
RunCommand define_lora_convert(CLI::App& app);
RunCommand define_lora_compare(CLI::App& app);
RunCommand define_lora_edit(CLI::App& app);
RunCommand define_lora_slider(CLI::App& app);

}  // namespace lorikeet

// Tags such as <lora:name:0.8> in a prompt: found, taken out of the text, and cut into their arguments. As in AUTOMATIC1111's webui.
// What the arguments of a LoRA mean: lora_tag.h.
// Tags are removed before anything else reads the prompt, so that "[<lora:a:1>:0.5]" schedules nothing of the tag.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace lorikeet {

// <type:item:item:…>. An item with exactly one '=' is named, the others are positional.
struct ExtraNetworkTag {
  std::string text;  // the tag as written, with its brackets
  std::string type;  // "lora", "lyco", "hypernet", …: any word
  std::vector<std::string> items, positional;
  std::map<std::string, std::string> named;  // the last of equal names

  // <lora:…>, or <lyco:…>, an older extension's word for it.
  bool is_lora() const { return type == "lora" || type == "lyco"; }
};

struct TaggedPrompt {
  std::string text;  // without the tags; white space around them stays
  std::vector<ExtraNetworkTag> tags;
};

TaggedPrompt take_extra_networks(std::string_view prompt);

}  // namespace lorikeet

// Tags such as <lora:name:0.8> in a prompt: found, taken out of the text, and read. As in AUTOMATIC1111's webui.
// Tags are removed before anything else reads the prompt, so that "[<lora:a:1>:0.5]" schedules nothing of the tag.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
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

// <lora:name:te:unet:dyn>, each behind the name optional, or named: te=, unet=, dyn=.
struct LoraTag {
  std::string name;                  // as written: a file's stem, a path, an alias or a hash
  double te = 1, unet = 1;           // multipliers of the text encoders' and the U-Net's part; unet is te when not given
  std::optional<int64_t> dyn;        // use the first so many ranks
  std::vector<std::string> ignored;  // named arguments that no one knows ("foo=bar"), for the report
  bool finite() const;               // neither multiplier is "nan" or "inf", which Python's float() reads; the caller refuses those
};

// Throws Error{bad_input} that shows the tag: no name, a multiplier that is no number, a rank that is no whole number.
LoraTag parse_lora_tag(const ExtraNetworkTag& tag);

}  // namespace lorikeet

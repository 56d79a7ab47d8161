// A1111's infotext: the prompt and settings of one picture as the text that travels in its file, and back.
// The format is that of stable-diffusion-webui 1.10 (modules/processing.py create_infotext, modules/infotext_utils.py); docs/formats.md.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "generate/request.h"

namespace lorikeet {

using NamedHashes = std::vector<std::pair<std::string, std::string>>;  // name -> hexadecimal digits, of which 12 are written

// What infotext tells that the request does not know.
struct InfotextFacts {
  int64_t seed = 0, subseed = 0;                 // of this picture, never -1
  size_t prompt = 0;                             // which of request.prompts
  std::string model = {}, model_hash = {};       // name without extension; 10 digits
  std::string vae = {}, vae_hash = {};           // "" unless a separate VAE was used
  NamedHashes lora_hashes = {}, ti_hashes = {};  // in the order of use; names as in the prompt
};

std::string write_infotext(const Request& request, const InfotextFacts& facts);

struct Infotext {
  Request request;  // settings that the text does not tell keep their defaults
  std::string model, model_hash, vae_hash, version;
  NamedHashes lora_hashes, ti_hashes;
  std::vector<std::pair<std::string, std::string>> parameters;  // all "key: value" of the last line, in order
  std::vector<std::string> notes;                               // what was not understood or cannot be repeated, for people
  bool from_picture = false, inpainted = false;                 // made from another picture, which is not in the text; by a mask too
};

// The note on what else is needed to make the picture again; "" where nothing is.
std::string note_of_other_pictures(bool needs_picture, bool needs_mask);

// Reads what A1111, its descendants and Lorikeet write; never throws. What A1111 would ask to be typed again is put into the request:
// AddNet fields become <lora:…> tags. parse_infotext(write_infotext(r, facts)).request is r but for what infotext has no word for
// (counts, pictures, file format) and with the seeds of the facts.
Infotext parse_infotext(std::string_view text);

// The pairs of "\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)", found one after the other, quotes as they stand.
std::vector<std::pair<std::string, std::string>> infotext_pairs(std::string_view line);

// Puts `replacement` in the place of each LoRA's name in the tags of a prompt: <lora:NAME: becomes <lora:replacement(NAME):.
std::string rename_loras(std::string_view prompt, const std::vector<std::pair<std::string, std::string>>& new_names);

}  // namespace lorikeet

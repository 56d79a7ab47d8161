// The blocks of a model as people speak of them, and a weight for each (block weights, "lbw").
// Names as in the extension sd-webui-lora-block-weight: BASE, IN00…IN11, MID, OUT00…OUT11.
#pragma once
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lorikeet {

// "IN04", "MID", "OUT03" for the U-Net's; "TE00"… and "TE2-00"… for the layers of the text encoders, "TE" and "TE2" for what is outside of
// them; "BASE" for the rest of the U-Net; "OTHER" for a path of no model that is known.
std::string block_of(std::string_view path);
// Whether some block's name is `name` or begins with it: "IN04", "OUT", "TE2".
bool begins_a_block(std::string_view name);
// In the order of a picture's way through the model: text encoders, BASE, IN, MID, OUT, OTHER.
bool block_before(std::string_view a, std::string_view b);

class BlockWeights {
 public:
  BlockWeights() = default;  // 1 everywhere

  // 12, 17, 20 or 26 numbers with commas between. 17: BASE, IN01, 02, 04, 05, 07, 08, MID, OUT03…11 (SD1, SD2); 26: BASE, IN00…11, MID,
  // OUT00…11; 12: BASE, IN04, 05, 07, 08, MID, OUT00…05 (SDXL); 20: BASE, IN00…08, MID, OUT00…08. BASE is the text encoders too; blocks
  // that the vector does not name are 0. Throws Error{bad_input}; of Flux's 61 numbers and of the extension's R, U and X it says why.
  static BlockWeights parse(std::string_view text);
  // A weight for each of these blocks; the others are 0.
  static BlockWeights of(std::span<const std::pair<std::string, double>> weights);

  double at(std::string_view path) const;
  size_t size() const { return weights_.size(); }    // blocks with a weight; 0: 1 everywhere
  const std::string& text() const { return text_; }  // the numbers with commas between; "" for 1 everywhere
  bool operator==(const BlockWeights&) const = default;

 private:
  std::map<std::string, double, std::less<>> weights_;
  std::string text_;
};

}  // namespace lorikeet

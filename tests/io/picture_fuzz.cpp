// Fuzz target: bytes that claim to be a picture give a picture or an Error.
#include "base/error.h"
#include "io/picture.h"

namespace lorikeet {

int fuzz_picture(const uint8_t* data, size_t size) {
  try {
    decode_picture_text({data, size});
  } catch (const Error&) {
  }
  PictureInfo info;
  try {
    info = picture_info({data, size});
  } catch (const Error&) {
  }
  try {
    const PictureFile file = decode_picture({data, size});
    const bool agrees = info.width_px == file.picture.width_px && info.height_px == file.picture.height_px;
    if (info.width_px != 0 && !agrees) __builtin_trap();
    const auto wanted = static_cast<size_t>(file.picture.width_px) * file.picture.height_px * file.picture.channels;
    if (file.picture.pixels.size() != wanted) __builtin_trap();
  } catch (const Error&) {
  }
  return 0;
}

}  // namespace lorikeet

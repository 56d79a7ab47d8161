#include "io/picture_codecs.h"

#include <array>

namespace lorikeet {

std::span<const PictureCodec* const> picture_codecs() {
#ifdef LORIKEET_NO_PICTURES
  return {};
#else
  static const std::array<const PictureCodec*, 3> list{&kPngCodec, &kJpegCodec, &kWebpCodec};
  return list;
#endif
}

}  // namespace lorikeet

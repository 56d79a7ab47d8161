#include "library/preview.h"

#include <cmath>
#include <fstream>

#include "base/error.h"
#include "io/atomic_file.h"
#include "io/hash.h"
#include "io/image.h"
#include "io/picture.h"
#include "library/embedded_picture.h"

namespace fs = std::filesystem;

namespace lorikeet {
namespace {

constexpr std::uintmax_t kMostPictureBytes = std::uintmax_t{64} << 20;

std::span<const uint8_t> as_bytes(std::string_view text) { return {reinterpret_cast<const uint8_t*>(text.data()), text.size()}; }

std::optional<std::string> read_picture_file(const fs::path& path) {
  std::error_code code;
  if (path.empty() || !fs::is_regular_file(path, code) || fs::file_size(path, code) > kMostPictureBytes) return std::nullopt;
  std::ifstream in(path, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(in), {}};
  return picture_media_type(bytes).empty() ? std::nullopt : std::optional(std::move(bytes));
}

}  // namespace

std::optional<PreviewFile> read_preview(const SidecarFiles& sidecars, const std::map<std::string, std::string>& metadata) {
  auto bytes = read_picture_file(sidecars.preview);
  if (!bytes) bytes = embedded_picture(metadata);
  if (!bytes) return std::nullopt;
  std::string type = picture_media_type(*bytes);
  return PreviewFile{*std::move(bytes), std::move(type), sidecars.preview_version};
}

PreviewFile small_preview(const PreviewFile& preview, int width_px) {
  try {
    const PictureInfo info = picture_info(as_bytes(preview.bytes));
    if (info.width_px <= width_px) return preview;
    const Tensor image = image_of(decode_picture(as_bytes(preview.bytes)).picture);
    const int height_px = std::max(1, static_cast<int>(std::lround(double(image.size(1)) * width_px / double(image.size(2)))));
    const auto bytes = encode_picture(PictureFormat::jpeg, picture_of(resize(image, width_px, height_px)), {}, 85);
    return {std::string(bytes.begin(), bytes.end()), "image/jpeg", preview.version};
  } catch (const Error&) {
    return preview;
  }
}

PreviewFile kept_small_preview(const fs::path& folder, const fs::path& model, const PreviewFile& preview, int width_px) {
  const std::string key = sha256(model.string() + "\n" + std::to_string(preview.version) + "\n" + std::to_string(preview.bytes.size()));
  const fs::path kept = folder / (key.substr(0, 32) + "-" + std::to_string(width_px) + ".jpg");
  if (auto bytes = read_picture_file(kept)) {
    std::string type = picture_media_type(*bytes);
    return {*std::move(bytes), std::move(type), preview.version};
  }
  PreviewFile small = small_preview(preview, width_px);
  if (small.media_type != "image/jpeg" || small.bytes == preview.bytes) return small;
  try {
    std::error_code code;
    fs::create_directories(folder, code);
    write_file_atomically(kept, small.bytes);
  } catch (const Error&) {
    // made again the next time
  }
  return small;
}

void write_preview(const fs::path& model, std::string_view picture) {
  const PictureFile decoded = decode_picture(as_bytes(picture));
  std::string png(picture);
  if (picture_media_type(png) != "image/png") {
    const auto bytes = encode_picture(PictureFormat::png, decoded.picture, decoded.text);
    png.assign(bytes.begin(), bytes.end());
  }
  write_file_atomically(model.parent_path() / (sidecar_stem(model) + ".preview.png"), png);
}

}  // namespace lorikeet

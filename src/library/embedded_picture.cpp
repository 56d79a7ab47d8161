#include "library/embedded_picture.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "io/picture_base64.h"
#include "library/json_limits.h"

namespace lorikeet {
namespace {

constexpr const char* kCovers = "ssmd_cover_images";
constexpr const char* kThumbnail = "modelspec.thumbnail";

std::string value(const std::map<std::string, std::string>& metadata, const char* key) {
  const auto found = metadata.find(key);
  return found == metadata.end() ? std::string() : found->second;
}

std::optional<std::string> decoded(std::string_view text) {
  if (starts_with(text, "data:")) text = text.substr(std::min(text.size(), text.find(',') == text.npos ? text.size() : text.find(',') + 1));
  try {
    const auto bytes = from_base64(text);
    std::string picture(bytes.begin(), bytes.end());
    if (!picture_media_type(picture).empty()) return picture;
  } catch (const Error&) {
    // no picture then
  }
  return std::nullopt;
}

}  // namespace

bool has_embedded_picture(const std::map<std::string, std::string>& metadata) {
  constexpr size_t kLeast = 100;  // "[]", "[null]"; the smallest PNG has 67 bytes
  const auto covers = metadata.find(kCovers);
  return (covers != metadata.end() && covers->second.size() > kLeast) || starts_with(value(metadata, kThumbnail), "data:image/");
}

std::optional<std::string> embedded_picture(const std::map<std::string, std::string>& metadata) {
  if (const std::string thumbnail = value(metadata, kThumbnail); starts_with(thumbnail, "data:image/"))
    if (auto picture = decoded(thumbnail)) return picture;
  try {
    const auto covers = nlohmann::json::parse(value(metadata, kCovers), limit_json_depth, false);
    if (!covers.is_array()) return std::nullopt;
    for (const auto& cover : covers)
      if (cover.is_string())
        if (auto picture = decoded(cover.get_ref<const std::string&>())) return picture;
  } catch (const Error&) {
    // no picture then
  }
  return std::nullopt;
}

std::string picture_media_type(const std::string& bytes) {
  if (starts_with(bytes, "\x89PNG\r\n\x1a\n")) return "image/png";
  if (starts_with(bytes, "\xff\xd8\xff")) return "image/jpeg";
  if (starts_with(bytes, "RIFF") && bytes.size() > 12 && bytes.compare(8, 4, "WEBP") == 0) return "image/webp";
  if (starts_with(bytes, "GIF87a") || starts_with(bytes, "GIF89a")) return "image/gif";
  return {};
}

}  // namespace lorikeet

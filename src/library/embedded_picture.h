// A picture that a model file carries in its metadata: ssmd_cover_images (AddNet, A1111: a JSON list of base64 texts), modelspec.thumbnail (a data
// URI).
#pragma once
#include <map>
#include <optional>
#include <string>

namespace lorikeet {

// It seems to have one; cheap.
bool has_embedded_picture(const std::map<std::string, std::string>& metadata);
// The bytes of the file (PNG, JPEG, WebP, GIF); nothing where there is none that is one.
std::optional<std::string> embedded_picture(const std::map<std::string, std::string>& metadata);

// "image/png" and so on by the first bytes; "" for what is none of the four.
std::string picture_media_type(const std::string& bytes);

}  // namespace lorikeet

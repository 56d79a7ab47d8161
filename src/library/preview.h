// The picture of a model: found, made small, set.
#pragma once
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "library/card.h"
#include "library/sidecar.h"

namespace lorikeet {

// The picture beside the model, else the one in its metadata. Only what is a picture by its first bytes is given, at most 64 MiB.
std::optional<PreviewFile> read_preview(const SidecarFiles& sidecars, const std::map<std::string, std::string>& metadata);

// In this width as JPEG, transparent parts over white; as it is where it is not wider, or cannot be decoded (GIF, damaged).
PreviewFile small_preview(const PreviewFile& preview, int width_px);

// The same, kept in `folder` for the next time; where that cannot be written, it is made each time. `model`: whose it is.
PreviewFile kept_small_preview(const std::filesystem::path& folder, const std::filesystem::path& model, const PreviewFile& preview,
                               int width_px);

// Writes NAME.preview.png. Error{bad_input}: no picture that can be read, Error{io}.
void write_preview(const std::filesystem::path& model, std::string_view picture);

}  // namespace lorikeet

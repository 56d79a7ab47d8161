#include "generate/region_masks.h"

#include <algorithm>
#include <filesystem>
#include <optional>

#include "base/error.h"
#include "base/text.h"
#include "io/image.h"

namespace lorikeet {

namespace fs = std::filesystem;

namespace {

Tensor mask_tensor(const Picture& picture) { return mask_of(picture)[0]; }

bool leads_out(const fs::path& name) {
  if (name.is_absolute() || name.has_root_name()) return true;
  return std::ranges::any_of(name, [](const fs::path& part) { return part == ".."; });
}

// "NAME=FILE" or "NAME=data:image/png;base64,…" of the request.
std::optional<Tensor> named_in_request(const Engine& engine, const Request& request, const std::string& name) {
  for (const std::string& entry : request.region_masks) {
    const size_t equals = entry.find('=');
    if (entry.substr(0, equals) != name) continue;
    const PictureSource source = PictureSource::from_text(std::string_view(entry).substr(equals + 1));
    if (!source.picture && !engine.options().paths_in_tags)
      throw Error(ErrorKind::bad_input, "the region mask \"" + name + "\" is no picture", "give its pixels, as data:image/png;base64,…");
    return mask_tensor(*source.load());
  }
  return std::nullopt;
}

}  // namespace

Tensor region_mask(const Engine& engine, const Request& request, const std::string& name) {
  if (auto mask = named_in_request(engine, request, name)) return *mask;
  std::error_code code;
  const fs::path path(replace_all(name, "\\", "/"));
  if (engine.options().paths_in_tags && fs::is_regular_file(path, code)) return mask_tensor(read_picture(path).picture);
  if (leads_out(path))
    throw Error(ErrorKind::bad_input, "mask=" + name + " leads out of the folders of LoRAs",
                "name a picture in one of them, or one of region_masks");
  std::vector<std::string> places;
  for (const fs::path& folder : engine.options().folders.places(ModelKind::lora)) {
    if (fs::is_regular_file(folder / path, code)) return mask_tensor(read_picture(folder / path).picture);
    places.push_back(folder.string());
  }
  throw Error(ErrorKind::not_found, "there is no mask \"" + name + "\"",
              "looked among region_masks" + std::string(engine.options().paths_in_tags ? ", in the working folder" : "") +
                  (places.empty() ? "" : " and in " + join(places, ", ")));
}

}  // namespace lorikeet

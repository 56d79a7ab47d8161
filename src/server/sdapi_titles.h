// How A1111 calls models.
#pragma once
#include <string>
#include <vector>

#include "library/card.h"

namespace lorikeet {

class App;

std::vector<LibraryCard> all_cards(App& app, ModelKind kind);  // of a kind, by name
std::string path_in_folder(const LibraryCard& card);           // "styles/monet.safetensors"
std::string checkpoint_title(const LibraryCard& card);         // "sd.safetensors [1234567890]"; without the hash until it is known

}  // namespace lorikeet

// The card of a model from what its file and its sidecars tell. What a person wrote (NAME.json) goes before what programs wrote.
#pragma once
#include "library/card.h"
#include "library/facts.h"
#include "library/names.h"
#include "library/sidecar.h"

namespace lorikeet {

// Without size, times and hashes, which the scan knows.
LibraryCard compose_card(const NamedFile& file, const FileFacts& facts, const SidecarFiles& sidecars, const Sidecar& sidecar);

// AutoV3 by the file's own words, as A1111 trusts it; "" where there is no sound one.
std::string claimed_hash(const FileFacts& facts);

}  // namespace lorikeet

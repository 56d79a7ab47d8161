// The details of one model.
#pragma once
#include "library/card.h"
#include "library/index.h"

namespace lorikeet {

// Opens the file; a file that cannot be read (any more) gives what the index knows.
LibraryItem read_item(const StoredCard& stored, Index& index);

}  // namespace lorikeet

// The parts of the group "files".
#pragma once
#include "check.h"

namespace lorikeet::oracle {

void check_diffusers_folders(Check&);  // folders.cpp: <model>/diffusers against <model>/<model>.safetensors
void check_tokenizer_files(Check&);    // tokenizer_files.cpp: vocab.json, merges.txt and the tokenizers' settings

}  // namespace lorikeet::oracle

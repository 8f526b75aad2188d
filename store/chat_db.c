#include "store/chat_db.h"

/* screen_driver.h: a small program behind a terminal that does what it is told: the counterpart of app in
 * screen tests.
 *
 * It runs in the child of a forkpty. Lines on the control descriptor tell it what to show ("\n" inside a line
 * is written as backslash and n): status PHASE DONE TOTAL USED MAX RATE QUEUED   title T   user T   answer T
 * stream T (opens a message, then appends)   think T (the same with its reasoning)   mode T (of status)
 * end STATUS   head N (of the chat)   renew (another chat)   note T   notice T   error T   list N   help
 * reset T refuse N T (the edit of message N)   timeout, editor (report them)   quit T (last words)
 * profile LAYERS EXPERTS USED PREFILLED DECODED SCALE READ_GB_S T (prof_by_hand.h; 0 layers: none). Each
 * event is reported as a line: "send T", "edit N send T", "action HELP T", "message N action HELP T", "branch
 * N" (which it follows), "picked N", "delete N", "draft CURSOR T", "profile of N", "hangup", and at the end
 * "left CURSOR T": what is in the editor. */
#ifndef FERRUM_SCREEN_DRIVER_H
#define FERRUM_SCREEN_DRIVER_H

#include "ui/ui.h"

/* Returns the exit code of the child. */
int screen_driver_run(const struct ui_options *options, int control_fd, int report_fd);

#endif

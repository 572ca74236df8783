/* Log-MMSE gain: twin of log_mmse.py. */
#ifndef KWS_LOG_MMSE_H
#define KWS_LOG_MMSE_H

#include <stdint.h>

/* gain[k] for prior and posterior signal-to-noise ratios (power). */
void kws_log_mmse_gain(const float *prior, const float *posterior, float *gain, int32_t bins);

#endif

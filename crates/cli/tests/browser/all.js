// Every test in one process: they share a browser, and a server where they do not mind what else is on it.

import './assets.test.js';
import './fold.test.js';
import './form.test.js';
import './paths.test.js';
import './stream.test.js';
import './1_views.test.js';
import './2_live.test.js';
import './3_restart.test.js';
import './4_approvals.test.js';
import './5_limits.test.js';
import './6_token.test.js';
